package wasmhost

import "unsafe"

// slab makes the values of headers that a guest sets. Each would be two small allocations, for the text and for the list
// that http.Header wants around it, which is a fifth of what a small guest costs (BenchmarkMiddleware). They are cut from
// larger pieces instead, and nothing of a piece is used twice: who keeps a value keeps its piece alive, and that is all.
type slab struct {
	text  []byte
	lists []string
}

const (
	slabText  = 1024
	slabLists = 32
	slabLarge = 128 // texts from here on are made one by one
)

func (s *slab) string(raw []byte) string {
	if len(raw) >= slabLarge {
		return string(raw)
	}
	if len(raw) == 0 {
		return ""
	}
	if cap(s.text)-len(s.text) < len(raw) {
		s.text = make([]byte, 0, slabText)
	}
	at := len(s.text)
	s.text = append(s.text, raw...)
	return unsafe.String(&s.text[at], len(raw))
}

// list is []string{value}, without room for more.
func (s *slab) list(value string) []string {
	if len(s.lists) == cap(s.lists) {
		s.lists = make([]string, 0, slabLists)
	}
	at := len(s.lists)
	s.lists = append(s.lists, value)
	return s.lists[at : at+1 : at+1]
}

// recentNames are names of headers as the guest spelled them last, by where in its memory they lie: the same constants
// again and again. It is asked before the table of all names.
type recentNames [8]headerName

// headerName is a name as the guest spells it, and in its canonical form.
type headerName struct{ spelled, key string }

func (r *recentNames) find(ptr uint32, raw []byte) (string, bool) {
	entry := &r[ptr/4%uint32(len(r))]
	return entry.key, entry.spelled == string(raw) && entry.key != ""
}

func (r *recentNames) note(ptr uint32, name headerName) { r[ptr/4%uint32(len(r))] = name }
