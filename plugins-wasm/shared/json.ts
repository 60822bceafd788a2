// Reads JSON, as the server hands over the configuration. AssemblyScript has no exceptions: what is wrong gives null.

export enum Kind { Null, Bool, Number, Text, List, Map }

export class Json {
  bool: bool = false;
  number: f64 = 0;
  text: string = "";
  items: Json[] = []; // of a list, or the values of a map
  names: string[] = []; // of a map

  constructor(public kind: Kind) {}

  /** The value of a name; null if there is none, or null itself. */
  get(name: string): Json | null {
    const i = this.names.indexOf(name);
    return i < 0 || this.items[i].kind == Kind.Null ? null : this.items[i];
  }

  /** The first name that is not in a list; null if all are. */
  unknown(known: string[]): string | null {
    for (let i = 0; i < this.names.length; i++) {
      if (!known.includes(this.names[i])) return this.names[i];
    }
    return null;
  }
}

export function parse(text: string): Json | null {
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.space();
  return parser.at == text.length ? value : null;
}

class Parser {
  at: i32 = 0;

  constructor(private text: string) {}

  peek(): i32 { return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1; }

  space(): void {
    for (let c = this.peek(); c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09; c = this.peek()) this.at++;
  }

  skip(token: string): bool {
    this.space();
    if (this.text.substr(this.at, token.length) != token) return false;
    this.at += token.length;
    return true;
  }

  value(depth: i32): Json | null {
    if (depth > 32) return null;
    if (this.skip("null")) return new Json(Kind.Null);
    if (this.skip("false")) return new Json(Kind.Bool);
    if (this.skip("true")) {
      const yes = new Json(Kind.Bool);
      yes.bool = true;
      return yes;
    }
    if (this.skip("[")) return this.sequence(new Json(Kind.List), "]", depth);
    if (this.skip("{")) return this.sequence(new Json(Kind.Map), "}", depth);
    if (this.peek() == 0x22) {
      const value = new Json(Kind.Text), text = this.string();
      if (text === null) return null;
      value.text = text;
      return value;
    }
    const start = this.at;
    while ("+-.0123456789eE".includes(this.peek() < 0 ? " " : String.fromCharCode(this.peek()))) this.at++;
    const value = new Json(Kind.Number);
    value.number = parseFloat(this.text.substring(start, this.at));
    return this.at == start || isNaN(value.number) ? null : value;
  }

  private sequence(into: Json, end: string, depth: i32): Json | null {
    while (!this.skip(end)) {
      if (into.items.length > 0 && !this.skip(",")) return null;
      if (into.kind == Kind.Map) {
        this.space();
        const name = this.string();
        if (name === null || !this.skip(":")) return null;
        into.names.push(name);
      }
      const item = this.value(depth + 1);
      if (item === null) return null;
      into.items.push(item);
    }
    return into;
  }

  private string(): string | null {
    if (this.peek() != 0x22) return null;
    let out = "", start = ++this.at;
    for (; this.at < this.text.length; this.at++) {
      const c = this.peek();
      if (c == 0x22) {
        out += this.text.substring(start, this.at++);
        return out;
      }
      if (c != 0x5c) continue;
      out += this.text.substring(start, this.at++);
      const escape = this.text.charAt(this.at), at = "bfnrt".indexOf(escape);
      if (escape == "u") {
        out += String.fromCharCode(<i32>parseInt(this.text.substr(this.at + 1, 4), 16)); // surrogates come in twos
        this.at += 4;
      } else {
        out += at >= 0 && escape.length == 1 ? "\b\f\n\r\t".charAt(at) : escape;
      }
      start = this.at + 1;
    }
    return null;
  }
}
