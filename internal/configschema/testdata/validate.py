"""Judges JSON documents, one a line, by the JSON schema in the file that is named. Prints a JSON list of problems for each."""
import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as f:
    schema = json.load(f)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for line in sys.stdin:
    problems = ["/".join(map(str, e.absolute_path)) + ": " + e.message[:200] for e in validator.iter_errors(json.loads(line))]
    print(json.dumps(problems))
