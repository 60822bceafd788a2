package main

import (
	"encoding/json"
	"fmt"
)

// scenario is one request and the answer to it. PHP computes the answer in php/scenarios/<Name>.php; Go computes the same
// bytes here, for the bare Go target and to check what every target says.
type scenario struct {
	Name   string
	About  string // a sentence for the report
	Answer func() (contentType string, body []byte)
}

// scenarios is the table behind -scenario.
var scenarios = []scenario{
	{
		Name:   "hello",
		About:  "A greeting of 14 bytes: nothing but the way to the application and back.",
		Answer: hello,
	},
	{
		Name:   "json",
		About:  "One page of a catalogue, 1 KiB of JSON, built and encoded anew for every request.",
		Answer: catalogue,
	},
}

func (s scenario) name() string { return s.Name }

// Path is where every target serves the scenario.
func (s scenario) Path() string { return "/" + s.Name }

func hello() (string, []byte) { return "text/plain; charset=utf-8", []byte("Hello, World!\n") }

type product struct {
	ID         int      `json:"id"`
	Name       string   `json:"name"`
	PriceCents int      `json:"price_cents"`
	InStock    bool     `json:"in_stock"`
	Tags       []string `json:"tags"`
}

type productPage struct {
	Page  int       `json:"page"`
	Total int       `json:"total"`
	Items []product `json:"items"`
	Note  string    `json:"note"`
}

func catalogue() (string, []byte) {
	page := productPage{Page: 1, Total: 10, Note: "prices in euros without VAT, delivery in 3 working days"}
	for id := 1; id <= page.Total; id++ {
		page.Items = append(page.Items, product{
			ID:         id,
			Name:       fmt.Sprintf("Product %d", id),
			PriceCents: 1250 * id,
			InStock:    id%3 != 0,
			Tags:       []string{"edge", "php", "wasm"},
		})
	}
	body, err := json.Marshal(page)
	if err != nil {
		panic(err) // numbers, texts and booleans always encode
	}
	return "application/json", body
}
