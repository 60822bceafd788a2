package guard

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-server/edge/core/configfile"
)

// ErrorPages is one element of http.errors, or of the errors of a route: what clients see in place of a line of text when the server has to
// answer by itself. Those that ask for JSON get it.
type ErrorPages struct {
	// Status are statuses and ranges: 404, 4xx, 500-599. Default [4xx, 5xx].
	Status Statuses `koanf:"status"`

	// Host are the sites, example.com or *.example.com. Default all.
	Host configfile.Strings `koanf:"host"`

	// File is the page. Default none.
	File string `koanf:"file"`

	// Root is a folder of pages, of which the first that is there counts: 404.html, 4xx.html, error.html; the same with .json for clients that
	// ask for JSON. Default none: a page that Edge brings along.
	Root string `koanf:"root"`

	// Replace also takes the place of answers that PHP, a plugin or another server has made. Default false.
	Replace bool `koanf:"replace"`
}

// Defaults is where decoding starts.
func (ErrorPages) Defaults() any { return ErrorPages{Status: Statuses{"4xx", "5xx"}} }

// Statuses are statuses and ranges of them. One alone may stand without a list.
type Statuses []string

// UnmarshalConfig accepts the short form, a status or a range.
func (s *Statuses) UnmarshalConfig(v any) error {
	switch v.(type) {
	case string, int, int64:
		*s = Statuses{fmt.Sprint(v)}
		return nil
	}
	return errors.New("write a status such as 404, a class such as 4xx, a range such as 500-599, or a list of these")
}

// Validate checks the configuration. Files are read when the server starts.
func (c ErrorPages) Validate() error {
	var errs []error
	if len(c.Status) == 0 {
		errs = append(errs, errors.New("status: name at least one, such as 404, 4xx or 500-599"))
	}
	for i, text := range c.Status {
		if _, err := parseStatuses(text); err != nil {
			errs = append(errs, fmt.Errorf("status[%d]: %w", i, err))
		}
	}
	if c.File != "" && c.Root != "" {
		errs = append(errs, errors.New("root: a page comes from file or from root, not from both"))
	}
	if err := ValidateHosts(c.Host); err != nil {
		errs = append(errs, fmt.Errorf("host: %w", err))
	}
	return errors.Join(errs...)
}

// statuses is a range of them.
type statuses struct{ first, last int }

func parseStatuses(text string) (statuses, error) {
	bad := fmt.Errorf("%q: write a status such as 404, a class such as 4xx, or a range such as 500-599, from 400 to 599", text)
	if text == "4xx" || text == "5xx" {
		class := int(text[0]-'0') * 100
		return statuses{class, class + 99}, nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil || from < 400 || to > 599 || from > to {
		return statuses{}, bad
	}
	return statuses{from, to}, nil
}

// Pages are some ErrorPages in use.
type Pages struct{ rules []pageRule }

type pageRule struct {
	statuses []statuses
	hosts    *hostSet
	replace  bool
	pages    map[string]*page // by name, such as 404.html
	file     *page            // in place of pages
	builtIn  bool             // in place of both
}

// NewPages reads the pages of list, whose elements are valid. There are none when the list is empty.
func NewPages(list []ErrorPages) (*Pages, error) {
	if len(list) == 0 {
		return nil, nil
	}
	p := &Pages{}
	var errs []error
	for i, c := range list {
		rule := pageRule{replace: c.Replace, builtIn: c.File == "" && c.Root == ""}
		for _, text := range c.Status {
			s, _ := parseStatuses(text)
			rule.statuses = append(rule.statuses, s)
		}
		rule.hosts = newHostSet(c.Host)
		var err error
		switch {
		case c.File != "":
			if rule.file, err = readPage(c.File); err != nil {
				err = fmt.Errorf("errors[%d].file: %w", i, err)
			}
		case c.Root != "":
			if rule.pages, err = readPages(c.Root); err != nil {
				err = fmt.Errorf("errors[%d].root: %w", i, err)
			}
		}
		errs = append(errs, err)
		p.rules = append(p.rules, rule)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// readPages reads the pages of a folder: files that are named as pages are, and no others.
func readPages(root string) (map[string]*page, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	pages := map[string]*page{}
	for _, entry := range entries {
		base, ext, _ := strings.Cut(entry.Name(), ".")
		if _, err := parseStatuses(base); err != nil && base != "error" || ext != "html" && ext != "json" {
			continue
		}
		one, err := readPage(filepath.Join(root, entry.Name()))
		if err != nil {
			return nil, err
		}
		pages[entry.Name()] = one
	}
	if len(pages) == 0 {
		return nil, fmt.Errorf("%s has no pages: they are called 404.html, 5xx.html, error.html, or the same with .json", root)
	}
	return pages, nil
}

// Middleware shows the pages. A nil one has none.
func (p *Pages) Middleware(next http.Handler) http.Handler {
	if p == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&pageWriter{ResponseWriter: w, pages: p, request: r}, r)
	})
}

// find is the page for a status, and whether it is to be JSON. answered says that somebody else has made the answer.
func (p *Pages) find(r *http.Request, status int, answered bool) (*page, bool) {
	json := wantsJSON(r.Header["Accept"])
	for i := range p.rules {
		rule := &p.rules[i]
		if answered && !rule.replace || !rule.has(status, r.Host) {
			continue
		}
		if one := rule.page(status, json); one != nil {
			return one, json
		}
	}
	return nil, json
}

func (rule *pageRule) has(status int, host string) bool {
	return slices.ContainsFunc(rule.statuses, func(s statuses) bool { return s.first <= status && status <= s.last }) && rule.hosts.has(host)
}

func (rule *pageRule) page(status int, json bool) *page {
	switch {
	case rule.builtIn && json, rule.file != nil && json && !rule.file.json:
		return builtInJSON
	case rule.builtIn:
		return builtInPage
	case rule.file != nil:
		return rule.file
	}
	extension := ".html"
	if json {
		extension = ".json"
	}
	number := strconv.Itoa(status)
	for _, name := range []string{number, number[:1] + "xx", "error"} {
		if one := rule.pages[name+extension]; one != nil {
			return one
		}
	}
	if json {
		return builtInJSON
	}
	return nil
}

// wantsJSON reports whether a client names JSON, and likes it no less than HTML if it names that, too.
func wantsJSON(accept []string) bool {
	best := map[bool]float64{} // by whether it is JSON
	for _, line := range accept {
		for element := range strings.SplitSeq(line, ",") {
			kind, parameters, _ := strings.Cut(element, ";")
			kind = strings.ToLower(strings.TrimSpace(kind))
			isJSON := kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
			if isJSON || kind == "text/html" || kind == "application/xhtml+xml" {
				best[isJSON] = max(best[isJSON], quality(parameters))
			}
		}
	}
	return best[true] > 0 && best[true] >= best[false]
}

// quality is the q of the parameters, 1 without.
func quality(parameters string) float64 {
	for one := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}
