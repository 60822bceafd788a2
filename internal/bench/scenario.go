package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// scenario is one request and the answer to it. PHP computes the answer in php/scenarios/<Name>.php, or in the App; Go
// computes the same bytes here, for the bare Go target and to check what every target says.
type scenario struct {
	Name  string
	About string // a sentence for the report
	App   string // the framework's application that answers; "" is the PHP code of this folder
	URL   string // path and query; "" is /<Name>

	// Post is the body of a POST; nil makes the request a GET.
	Post []byte

	// Answer is the answer to a request with that body.
	Answer func(request []byte) (contentType string, body []byte)

	// Targets are those that serve the scenario; nil means all.
	Targets []string

	// More are numbers of connections at which the essential targets are measured, too.
	More []int
}

// connectionsOfAll is the number of connections at which every target of a scenario is measured.
const connectionsOfAll = 16

// essentials are the targets that the other numbers of connections are measured with.
var essentials = []string{edgePHP, nginxFPM, bareGo}

// scenarios is the table behind -scenario.
var scenarios = []scenario{
	{
		Name:   "hello",
		About:  "A greeting of 14 bytes: nothing but the way to the application and back.",
		Answer: hello,
		More:   []int{1, 64, 512},
	},
	{
		Name:   "json",
		About:  "One page of a catalogue, 1 KiB of JSON, built and encoded anew for every request.",
		Answer: catalogue,
	},
	{
		Name:    "answer-64k",
		About:   "An answer of 64 KiB.",
		Answer:  sameLines,
		Targets: []string{edgePHP, edgePSR7, edgeRR, edgeClassic, nginxFPM, bareGo},
	},
	{
		Name:    "post-64k",
		About:   "A POST of 64 KiB, of which PHP says how long it is, how it goes on in the middle and how it ends.",
		Post:    manyLines(),
		Answer:  glimpse,
		Targets: []string{edgePHP, edgePSR7, edgeRR, edgeClassic, nginxFPM, bareGo},
	},
	{
		Name:    "symfony",
		About:   "Ten products as JSON from a controller of `examples/symfony`: kernel, routing, container, events.",
		App:     "symfony",
		URL:     "/api/products",
		Answer:  products,
		Targets: []string{edgePHP, edgeClassic, nginxFPM, bareGo},
	},
	{
		Name:    "laravel",
		About:   "The same from a controller of `examples/laravel`, configuration and routes cached.",
		App:     "laravel",
		URL:     "/api/products",
		Answer:  products,
		Targets: []string{edgePHP, edgeClassic, nginxFPM, bareGo},
	},
}

func (s scenario) name() string { return s.Name }

// Path is where every target serves the scenario.
func (s scenario) Path() string {
	if s.URL != "" {
		return s.URL
	}
	return "/" + s.Name
}

// Method is that of the request.
func (s scenario) Method() string {
	if s.Post != nil {
		return "POST"
	}
	return "GET"
}

// servedBy reports whether a target of the table is measured in the scenario.
func (s scenario) servedBy(target string) bool {
	return s.Targets == nil || slices.Contains(s.Targets, target)
}

func hello([]byte) (string, []byte) { return "text/plain; charset=utf-8", []byte("Hello, World!\n") }

type product struct {
	ID         int      `json:"id"`
	Name       string   `json:"name"`
	PriceCents int      `json:"price_cents"`
	InStock    bool     `json:"in_stock"`
	Tags       []string `json:"tags,omitempty"`
}

type productPage struct {
	Page  int       `json:"page"`
	Total int       `json:"total,omitempty"`
	Items []product `json:"items"`
	Note  string    `json:"note,omitempty"`
}

func tenProducts(tags []string) []product {
	var list []product
	for id := 1; id <= 10; id++ {
		list = append(list, product{id, fmt.Sprintf("Product %d", id), 1250 * id, id%3 != 0, tags})
	}
	return list
}

func catalogue([]byte) (string, []byte) {
	return asJSON(productPage{Page: 1, Total: 10, Items: tenProducts([]string{"edge", "php", "wasm"}),
		Note: "prices in euros without VAT, delivery in 3 working days"})
}

func products([]byte) (string, []byte) { return asJSON(productPage{Page: 1, Items: tenProducts(nil)}) }

func asJSON(page productPage) (string, []byte) {
	body, err := json.Marshal(page)
	if err != nil {
		panic(err) // numbers, texts and booleans always encode
	}
	return "application/json", body
}

// manyLines are 64 KiB in numbered lines of 16 bytes: a part that is lost or moved shows.
func manyLines() []byte {
	var b strings.Builder
	for n := range 4096 {
		fmt.Fprintf(&b, "%015d\n", n)
	}
	return []byte(b.String())
}

// sameLines are 64 KiB of one line, made as fast as the language can.
func sameLines([]byte) (string, []byte) {
	return "text/plain; charset=utf-8", bytes.Repeat([]byte("0123456789abcde\n"), 4096)
}

// glimpse is short whatever it is given, so that what counts is the way of the request.
func glimpse(request []byte) (string, []byte) {
	if len(request) < 32 {
		return "text/plain; charset=utf-8", []byte("too short")
	}
	middle := len(request) / 2
	return "text/plain; charset=utf-8", fmt.Appendf(nil, "%d %s%s", len(request), request[middle:middle+16], request[len(request)-16:])
}
