// Package meter rewrites a WebAssembly module so that it counts what it does and stops by itself when it has done enough.
// The engine has no such limits of its own that one could pay for: its cancellation makes tight loops fifty times slower, and
// its stack may grow to hundreds of megabytes (see RATIONALE.md, "Why are guests rewritten?").
//
// [Rewrite] adds globals and the code that keeps them:
//
//   - edge.fuel, an i64, falls by the number of instructions ahead at the beginning of functions, loops and branches, and by
//     the size of bulk operations. Below zero the guest traps.
//   - edge.stack, an i32, is the room that is left for native frames: a function that may call itself, in however many
//     steps, takes the estimated size of its frame and gives it back. Below zero the guest traps.
//   - edge.denied, an i32, becomes 1 when the guest asked for more memory or table entries and did not get them.
//   - edge.tables, an i64, is what tables take, in modules whose code grows one: memory and tables have one limit together.
//
// All but the last begin with 0: the host sets fuel and stack before it calls anything. Therefore the start section is taken out, and
// the function it names is exported as edge.start for the host to call. What a guest pays for does not depend on the
// machine, nor on the limits: the same request costs the same fuel everywhere, and a rewritten module can be kept on disk.
//
// The guest's own mutable globals are exported as edge.global.N, so that an instance can be put back to what it was.
//
// How a function is charged: its code is cut at every point where control may come in (the beginning of the function, of a
// loop and of both arms of an if, and each end). Control enters such a segment at its top alone, so a charge there pays for
// all of it. Short segments are paid for by the one in front of them that is always passed first, up to [absorbAll]
// instructions, which keeps small loops and functions at one charge; the price of that is that a guest pays for a few
// instructions that it branched over. It never runs one that it did not pay for. A loop that only plain branches lead back to is paid
// for by them, and its first round by the segment in front, which pays [absorbLoop] in advance at most.
//
// Code that is one loop around a jump table, as Go's all is, jumps where it can without the table (dispatch.go).
package meter
