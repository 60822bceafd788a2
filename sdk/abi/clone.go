package abi

// Exports about instances. New instances are copies of one that has started, so that start-up code runs once; docs/abi.md,
// "Instances", says what is shared.
const (
	// WarmUp runs once, after start-up and [Configure], before instances are copied: what it builds is there in all of them.
	// A guest that allocates grows its heap here and not in every request of `isolation: request`.
	//
	//	edge_warm_up()
	WarmUp = "edge_warm_up"

	// AfterClone runs in each copy before its first request, and with `isolation: request` before every one. A guest that
	// seeds a pseudo-random generator at its start seeds it here again. Without it, such a guest is started anew for each instance.
	//
	//	edge_after_clone()
	AfterClone = "edge_after_clone"

	// NoClone says that instances must not be copies, for instance because each holds a secret of its own. It is not called.
	//
	//	edge_no_clone()
	NoClone = "edge_no_clone"
)
