package main

import (
	"errors"
	"regexp"
	"strings"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/core/rrcompat"
)

// madeOf follows the name of the file in what is wrong with the edge.yaml that was made of it.
const madeOf = ", as edge.yaml"

// inRoadRunnersWords names in err the keys of .rr.yaml and their lines, in the place of those of the edge.yaml that was made of it.
// What came from a variable of the environment keeps its key: it is one of Edge's.
func inRoadRunnersWords(c *rrcompat.Config, err error) error {
	switch joined := err.(type) {
	case *configfile.Problems:
		return problemsInRoadRunnersWords(c, joined)
	case core.NeedsRestartError:
		return restartInRoadRunnersWords(c, joined)
	case interface{ Unwrap() []error }:
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, inRoadRunnersWords(c, e))
		}
		return errors.Join(errs...)
	}
	return keysInRoadRunnersWords(c, err)
}

// edgeKey is a key within a sentence, such as that of an address which somebody else has.
var edgeKey = regexp.MustCompile(`\b(http\.listen\[\d+\](: address)?|(php\.http|telemetry|services)\.[a-z0-9_]+(\.[a-z0-9_]+)*)`)

func keysInRoadRunnersWords(c *rrcompat.Config, err error) error {
	if err == nil {
		return nil
	}
	text := edgeKey.ReplaceAllStringFunc(err.Error(), func(key string) string {
		key, _ = c.Origin(strings.Replace(key, ": ", ".", 1))
		return key
	})
	if text == err.Error() {
		return err
	}
	return errors.New(text)
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
		if p.Line == 0 {
			p.File = strings.TrimSuffix(p.File, madeOf)
		}
		told.List = append(told.List, p)
	}
	return told
}

// restartSections are what RoadRunner calls the parts of edge.yaml that a reload cannot change, where one is made of several.
var restartSections = map[string]string{
	"http.listen": "the addresses of http", "http.limits": "http.max_request_size or http.http2", "telemetry": "metrics, status or otel",
}

func restartInRoadRunnersWords(c *rrcompat.Config, err core.NeedsRestartError) error {
	told := core.NeedsRestartError{}
	for _, key := range err.Keys {
		if s, ok := restartSections[key]; ok {
			key = s
		} else {
			key, _ = c.Origin(key)
		}
		told.Keys = append(told.Keys, key)
	}
	return told
}
