package meter_test

import (
	"context"
	"testing"
)

// BenchmarkCost compares what guests take as they are and rewritten.
func BenchmarkCost(b *testing.B) {
	module := assemble(b, `(module (memory (export "memory") 1)
		(func (export "nothing"))
		(func $fib (export "fib") (param $n i32) (result i32)
			(if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (local.get $n))
				(else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1))) (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
		(func $add (param i32 i32) (result i32) (i32.add (local.get 0) (i32.mul (local.get 1) (i32.const 3))))
		(func $step (param $x i32) (result i32)
			(if (i32.and (local.get $x) (i32.const 1)) (then (local.set $x (call $add (local.get $x) (i32.const 5)))))
			(i32.xor (i32.shr_u (local.get $x) (i32.const 1)) (i32.add (local.get $x) (i32.const 77))))
		(func (export "calls") (param $n i32) (result i32) (local $x i32)
			(loop $l (local.set $x (call $step (local.get $x)))
				(br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
			(local.get $x))
		(func (export "loop") (param $n i32) (result i32)
			(loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
			(local.get $n))
		(func (export "hash") (param $n i32) (result i32) (local $h i32)
			(local.set $h (i32.const 0x811c9dc5))
			(loop $l
				(local.set $h (i32.mul (i32.xor (local.get $h) (i32.load8_u (i32.and (local.get $n) (i32.const 0xffff)))) (i32.const 16777619)))
				(br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
			(local.get $h)))`)
	out, _ := rewrite(b, module)
	for _, tt := range []struct {
		name string
		args []uint64
	}{{"nothing", nil}, {"fib", []uint64{22}}, {"calls", []uint64{10_000}}, {"loop", []uint64{100_000}}, {"hash", []uint64{100_000}}} {
		for kind, module := range map[string][]byte{"plain": module, "metered": out} {
			b.Run(tt.name+"/"+kind, func(b *testing.B) {
				r := instantiate(b, module)
				f := r.mod.ExportedFunction(tt.name)
				stack, metered := make([]uint64, 1), r.metered()
				for b.Loop() {
					copy(stack, tt.args)
					if metered {
						r.set("edge.fuel", plenty)
					}
					if err := f.CallWithStack(context.Background(), stack); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
