// Patterns such as /posts/{slug} and /old/{rest...}, and templates that use what they captured. Matching never goes back, so it takes
// a time proportional to the text, whatever clients send.

/** What the last match captured, by the order of the pattern's names. */
export class Captures {
  names: string[] = [];
  values: string[] = [];
}

class Part {
  constructor(public text: string, public capture: bool, public rest: bool) {}
}

export class Pattern {
  parts: Part[] = [];
  error: string | null = null;

  /** separator is what a {name} does not contain: / in paths, . in hosts. */
  constructor(text: string, private separator: string) { this.error = this.read(text); }

  /** Takes the pattern apart; null, or what is wrong with it. */
  private read(text: string): string | null {
    let at = 0, captured = false;
    while (at < text.length) {
      const open = text.indexOf("{", at);
      if (open < 0 || open > at) {
        const literal = text.substring(at, open < 0 ? text.length : open);
        if (literal.includes("}") || literal.includes("*")) {
          return "\"" + literal + "\" has a } or a *: captures are {name} and, at the end, {name...}";
        }
        this.parts.push(new Part(literal, false, false));
        captured = false;
        if (open < 0) break;
      }
      const close = text.indexOf("}", open);
      if (close < 0) return "a { without a }";
      let name = text.substring(open + 1, close);
      const rest = name.endsWith("...");
      if (rest) name = name.substring(0, name.length - 3);
      if (!isName(name)) return "{" + name + "} is no name: letters, digits and _";
      if (this.names().includes(name)) return "{" + name + "} is there twice";
      if (captured) return "two captures must have a text between them";
      if (rest && close + 1 < text.length) return "{" + name + "...} must be at the end";
      if (this.names().length == 16) return "at most 16 captures";
      this.parts.push(new Part(name, true, rest));
      captured = true;
      at = close + 1;
    }
    return null;
  }

  names(): string[] {
    const names: string[] = [];
    for (let i = 0; i < this.parts.length; i++) {
      if (this.parts[i].capture) names.push(this.parts[i].text);
    }
    return names;
  }

  /** Adds what it captures to into; what is there of a match that failed counts for nothing. */
  match(text: string, into: Captures): bool {
    const parts = this.parts;
    let at = 0;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i], last = i + 1 == parts.length;
      if (!part.capture) {
        if (!text.startsWith(part.text, at)) return false;
        at += part.text.length;
        continue;
      }
      let end = text.length;
      if (!last) { // up to the next literal, which at the end of the pattern is the end of the text
        const next = parts[i + 1].text;
        end = i + 2 == parts.length ? (text.endsWith(next) ? text.length - next.length : -1) : text.indexOf(next, at + 1);
      }
      if (end < at || end == at && (!part.rest || this.separator == ".")) return false; // a host has no empty parts
      const value = text.substring(at, end);
      if (!part.rest && value.includes(this.separator)) return false;
      into.names.push(part.text);
      into.values.push(value);
      at = end;
    }
    return at == text.length;
  }
}

/** Puts captures into a template, whose names were checked. */
export function fill(template: string, captures: Captures): string {
  let out = "", at = 0;
  for (let open = template.indexOf("{"); open >= 0; open = template.indexOf("{", at)) {
    const close = template.indexOf("}", open), i = captures.names.indexOf(template.substring(open + 1, close));
    out += template.substring(at, open);
    if (i >= 0) out += captures.values[i];
    at = close + 1;
  }
  return out + template.substring(at);
}

/** The names of a template; null if its braces do not fit together. */
export function namesOf(template: string): string[] | null {
  const names: string[] = [];
  let at = 0;
  for (let open = template.indexOf("{"); open >= 0; open = template.indexOf("{", at)) {
    const close = template.indexOf("}", open);
    if (close < 0) return null;
    names.push(template.substring(open + 1, close));
    at = close + 1;
  }
  return names;
}

function isName(text: string): bool {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (!(c >= 0x61 && c <= 0x7a || c >= 0x41 && c <= 0x5a || c >= 0x30 && c <= 0x39 || c == 0x5f)) return false;
  }
  return text.length > 0;
}
