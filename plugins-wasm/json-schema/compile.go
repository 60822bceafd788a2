package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// schema is a schema of JSON Schema 2020-12, or the part of it that README.md names, ready for use.
type schema struct {
	never bool // the schema false

	types                    []string
	enum                     []string // canonical
	wanted                   string   // enum, for people
	minimum, maximum         *big.Rat
	aboveMinimum             *big.Rat
	belowMaximum             *big.Rat
	multipleOf               *big.Rat
	minLength, maxLength     int
	pattern                  *regexp.Regexp
	format                   func(string) bool
	formatName               string
	minItems, maxItems       int
	unique                   bool
	prefix                   []*schema
	items                    *schema
	contains                 *schema
	minContains, maxContains int
	minProps, maxProps       int
	required                 []string
	properties               map[string]*schema
	patterns                 []patternSchema
	additional               *schema
	names                    *schema
	dependentRequired        map[string][]string
	dependentSchemas         map[string]*schema
	allOf, anyOf, oneOf      []*schema
	not                      *schema
	condition                *schema
	then, otherwise          *schema
	ref                      *schema
}

type patternSchema struct {
	name   *regexp.Regexp
	schema *schema
}

const unbounded = -1

// maxSchemas bounds the schemas within a schema.
const maxSchemas = 10000

type compiler struct {
	root any
	made map[string]*schema // by JSON pointer
	busy map[*schema]int    // for loops: 1 on the way, 2 done
}

func compile(root any) (*schema, error) {
	c := &compiler{root: root, made: map[string]*schema{}, busy: map[*schema]int{}}
	s, err := c.schema(root, "")
	if err != nil {
		return nil, err
	}
	for pointer, one := range c.made {
		if c.loops(one) {
			return nil, fmt.Errorf(" at %s: it leads to itself through $ref without going into the value: it would never end", shown(pointer))
		}
	}
	return s, nil
}

func shown(pointer string) string {
	if pointer == "" {
		return "#"
	}
	return "#" + pointer
}

// loops reports whether a schema comes back to itself at the same value.
func (c *compiler) loops(s *schema) bool {
	if s == nil || c.busy[s] == 2 {
		return false
	}
	if c.busy[s] == 1 {
		return true
	}
	c.busy[s] = 1
	same := slices.Concat(s.allOf, s.anyOf, s.oneOf, []*schema{s.not, s.condition, s.then, s.otherwise, s.ref})
	for _, one := range s.dependentSchemas {
		same = append(same, one)
	}
	for _, one := range same {
		if c.loops(one) {
			return true
		}
	}
	c.busy[s] = 2
	return false
}

func (c *compiler) schema(value any, at string) (*schema, error) {
	if s, ok := c.made[at]; ok {
		return s, nil
	}
	if len(c.made) >= maxSchemas {
		return nil, fmt.Errorf(": more than %d schemas in one", maxSchemas)
	}
	s := &schema{
		minLength: unbounded, maxLength: unbounded, minItems: unbounded, maxItems: unbounded,
		minContains: 1, maxContains: unbounded, minProps: unbounded, maxProps: unbounded,
	}
	c.made[at] = s // before its parts, which may refer to it
	if whether, ok := value.(bool); ok {
		s.never = !whether
		return s, nil
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf(" at %s: a schema is an object, true or false", shown(at))
	}
	for _, name := range sortedNames(members) {
		below := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		err := c.keyword(s, name, members[name], below)
		if err != nil && !strings.HasPrefix(err.Error(), " at ") && !strings.HasPrefix(err.Error(), ":") {
			err = fmt.Errorf(" at %s: %w", shown(below), err)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, ok := members["contains"]; !ok && (members["minContains"] != nil || members["maxContains"] != nil) {
		return nil, fmt.Errorf(" at %s: minContains and maxContains need contains", shown(at))
	}
	return s, nil
}

var (
	errText  = errors.New("it must be a text")
	errList  = errors.New("it must be a list of texts")
	errCount = errors.New("it must be a whole number from 0 on")
)

func (c *compiler) keyword(s *schema, name string, value any, at string) (err error) {
	switch name {
	case "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment":
		return nil // for people
	case "$id":
		if at != "/$id" {
			return errors.New("only the outermost schema may have one: it would change what $ref means")
		}
		return nil
	case "$schema":
		if value != "https://json-schema.org/draft/2020-12/schema" {
			return errors.New("it is not https://json-schema.org/draft/2020-12/schema")
		}
		return nil
	case "type":
		s.types, err = typeNames(value)
	case "enum":
		list, ok := value.([]any)
		if !ok || len(list) == 0 {
			return errors.New("it must be a list that is not empty")
		}
		s.addEnum(list)
	case "const":
		s.addEnum([]any{value})
	case "minimum":
		s.minimum, err = number(value)
	case "maximum":
		s.maximum, err = number(value)
	case "exclusiveMinimum":
		s.aboveMinimum, err = number(value)
	case "exclusiveMaximum":
		s.belowMaximum, err = number(value)
	case "multipleOf":
		if s.multipleOf, err = number(value); err == nil && s.multipleOf.Sign() <= 0 {
			err = errors.New("it must be above 0")
		}
	case "minLength":
		s.minLength, err = count(value)
	case "maxLength":
		s.maxLength, err = count(value)
	case "minItems":
		s.minItems, err = count(value)
	case "maxItems":
		s.maxItems, err = count(value)
	case "minContains":
		s.minContains, err = count(value)
	case "maxContains":
		s.maxContains, err = count(value)
	case "minProperties":
		s.minProps, err = count(value)
	case "maxProperties":
		s.maxProps, err = count(value)
	case "pattern":
		s.pattern, err = expression(value)
	case "format":
		s.formatName, _ = value.(string)
		if s.format = formats[s.formatName]; s.format == nil {
			err = fmt.Errorf("%v is none of %s", value, strings.Join(sortedNames(formats), ", "))
		}
	case "uniqueItems":
		var ok bool
		if s.unique, ok = value.(bool); !ok {
			err = errors.New("it must be true or false")
		}
	case "required":
		s.required, err = names(value)
	case "dependentRequired":
		s.dependentRequired, err = dependents(value)
	case "$ref":
		s.ref, err = c.reference(value)
	default:
		return c.applicator(s, name, value, at)
	}
	return err
}

// applicator takes the keywords whose values are schemas.
func (c *compiler) applicator(s *schema, name string, value any, at string) (err error) {
	one := map[string]**schema{
		"items": &s.items, "contains": &s.contains, "additionalProperties": &s.additional, "propertyNames": &s.names,
		"not": &s.not, "if": &s.condition, "then": &s.then, "else": &s.otherwise,
	}
	list := map[string]*[]*schema{"allOf": &s.allOf, "anyOf": &s.anyOf, "oneOf": &s.oneOf, "prefixItems": &s.prefix}
	named := map[string]*map[string]*schema{"properties": &s.properties, "dependentSchemas": &s.dependentSchemas, "$defs": {}, "patternProperties": {}}
	if to := one[name]; to != nil {
		*to, err = c.schema(value, at)
		return err
	}
	if to := list[name]; to != nil {
		parts, ok := value.([]any)
		if !ok || len(parts) == 0 {
			return errors.New("it must be a list of schemas that is not empty")
		}
		for i, part := range parts {
			below, err := c.schema(part, at+"/"+strconv.Itoa(i))
			if err != nil {
				return err
			}
			*to = append(*to, below)
		}
		return nil
	}
	to := named[name]
	if to == nil {
		return errors.New("this keyword is not known; README.md of json-schema has those that are")
	}
	members, ok := value.(map[string]any)
	if !ok {
		return errors.New("it must be an object of schemas")
	}
	*to = map[string]*schema{}
	for _, key := range sortedNames(members) {
		below, err := c.schema(members[key], at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
		if err != nil {
			return err
		}
		(*to)[key] = below
		if name == "patternProperties" {
			pattern, err := expression(key)
			if err != nil {
				return err
			}
			s.patterns = append(s.patterns, patternSchema{pattern, below})
		}
	}
	return nil
}

// reference follows a $ref within the schema.
func (c *compiler) reference(value any) (*schema, error) {
	text, _ := value.(string)
	pointer, ok := strings.CutPrefix(text, "#")
	if !ok || pointer != "" && pointer[0] != '/' {
		return nil, fmt.Errorf("%v is not within this schema; write # or #/$defs/name", value)
	}
	pointer = unescape(pointer)
	at := c.root
	for i, step := range strings.Split(pointer, "/") {
		if i == 0 {
			continue
		}
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := at.(type) {
		case map[string]any:
			at, ok = v[step]
		case []any:
			n, err := strconv.Atoi(step)
			if ok = err == nil && n >= 0 && n < len(v); ok {
				at = v[n]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, fmt.Errorf("%s leads nowhere", text)
		}
	}
	return c.schema(at, pointer)
}

func (s *schema) addEnum(list []any) {
	var allowed []string
	for _, value := range list {
		allowed = append(allowed, canonical(value))
	}
	if s.enum != nil { // enum and const: both count
		allowed = slices.DeleteFunc(allowed, func(v string) bool { return !slices.Contains(s.enum, v) })
	}
	s.enum, s.wanted = append([]string{}, allowed...), ""
	for i, value := range list {
		text, _ := json.Marshal(value) // it came from JSON
		if s.wanted += string(text); len(s.wanted) > 100 && i+1 < len(list) {
			s.wanted += ", …"
			return
		}
		if i+1 < len(list) {
			s.wanted += ", "
		}
	}
}

func typeNames(value any) ([]string, error) {
	list, err := names(value)
	if one, ok := value.(string); ok {
		list, err = []string{one}, nil
	}
	for _, name := range list {
		if !slices.Contains([]string{"null", "boolean", "object", "array", "number", "string", "integer"}, name) {
			return nil, fmt.Errorf("%q is no type", name)
		}
	}
	return list, err
}

func names(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, errList
	}
	var all []string
	for _, item := range list {
		name, ok := item.(string)
		if !ok {
			return nil, errList
		}
		all = append(all, name)
	}
	return all, nil
}

func dependents(value any) (map[string][]string, error) {
	members, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("it must be an object of lists")
	}
	all := map[string][]string{}
	for name, list := range members {
		var err error
		if all[name], err = names(list); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func number(value any) (*big.Rat, error) {
	n, ok := value.(json.Number)
	if !ok {
		return nil, errors.New("it must be a number")
	}
	return rational(n), nil
}

func count(value any) (int, error) {
	n, ok := value.(json.Number)
	if !ok {
		return 0, errCount
	}
	r := rational(n) // 2.0 is one, too
	if !r.IsInt() || r.Sign() < 0 || !r.Num().IsInt64() || r.Num().Int64() > 1<<31-1 {
		return 0, errCount
	}
	return int(r.Num().Int64()), nil
}

// expression compiles a regular expression: RE2, which takes linear time whatever a client sends.
func expression(value any) (*regexp.Regexp, error) {
	text, ok := value.(string)
	if !ok {
		return nil, errText
	}
	return regexp.Compile(text)
}

// formats are those that are checked; others would be promises that nobody keeps.
var formats = map[string]func(string) bool{
	"date-time": func(s string) bool { return parses(time.RFC3339, strings.ToUpper(s)) },
	"date":      func(s string) bool { return parses(time.DateOnly, s) },
	"time":      func(s string) bool { return parses(time.RFC3339, "2000-01-01T"+strings.ToUpper(s)) },
	"uuid":      regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`).MatchString,
	"email":     regexp.MustCompile(`^[^\s@<>()\[\],;:\\"]+@([0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.)*[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?$`).MatchString,
	"hostname":  regexp.MustCompile(`^([0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.)*[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?$`).MatchString,
	"ipv4":      func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Is4() },
	"ipv6":      func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Is6() && a.Zone() == "" },
	"uri":       regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$`).MatchString,
}

func parses(layout, s string) bool {
	_, err := time.Parse(layout, s)
	return err == nil
}
