package main

import (
	"errors"

	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/core/rrcompat"
)

// inRoadRunnersWords names in err the keys of .rr.yaml and their lines, in the place of those of the edge.yaml that was made of it.
// What came from a variable of the environment keeps its key: it is one of Edge's.
func inRoadRunnersWords(c *rrcompat.Config, err error) error {
	switch joined := err.(type) {
	case *configfile.Problems:
		return problemsInRoadRunnersWords(c, joined)
	case interface{ Unwrap() []error }:
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, inRoadRunnersWords(c, e))
		}
		return errors.Join(errs...)
	}
	return err
}

func problemsInRoadRunnersWords(c *rrcompat.Config, problems *configfile.Problems) error {
	told := &configfile.Problems{}
	for _, p := range problems.List {
		if p.Variable == "" && p.Key != "" {
			p.Line = 0
			if p.Key, p.File = c.Origin(p.Key); p.File == "-o "+p.Key {
				p.Key = "" // it is named already
			}
		}
		told.List = append(told.List, p)
	}
	return told
}
