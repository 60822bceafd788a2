package meter_test

import "testing"

// TestLoopsWithParameters: a jump to the top of the loop brings a new value there, one to a door leaves the old one.
func TestLoopsWithParameters(t *testing.T) {
	t.Parallel()
	module := assemble(t, `(module (func (export "run") (result i32) (local $place i32)
		i32.const 5
		loop $top (param i32) (result i32)
			block $one
				block $zero
					local.get $place
					br_table $zero $one
				end
				i32.const 7
				i32.const 1
				local.set $place
				br $top
			end
		end))`)
	original := instantiate(t, module)
	defer original.close()
	out, _ := rewrite(t, module)
	metered := instantiate(t, out)
	defer metered.close()
	want, err := original.call("run")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := metered.call("run"); err != nil || got[0] != want[0] || want[0] != 7 {
		t.Errorf("the rewritten module says %v, %v, the original %v, want 7", got, err, want)
	}
}
