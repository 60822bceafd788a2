package kv

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Op is the argument of every method beyond RoadRunner's seven, and one operation of kv.Batch; docs/kv.md says which reads what.
// Times are milliseconds.
//
// Values that ParseProto filled in are slices of its input, so the input must stay as it is until the call was served.
type Op struct {
	Storage  string   `json:"storage,omitempty"`
	Op       string   `json:"op,omitempty"` // in kv.Batch: the method, such as Increment
	Key      string   `json:"key,omitempty"`
	Value    []byte   `json:"value,omitempty"`
	TTL      int64    `json:"ttl,omitempty"`
	KeepTTL  bool     `json:"keep_ttl,omitempty"`
	Delta    int64    `json:"delta,omitempty"`
	Version  int64    `json:"version,omitempty"`
	Absent   bool     `json:"absent,omitempty"`
	Expected []byte   `json:"expected,omitempty"`
	Token    string   `json:"token,omitempty"`
	Lease    int64    `json:"lease,omitempty"`
	Wait     int64    `json:"wait,omitempty"`
	Prefix   string   `json:"prefix,omitempty"`
	Cursor   string   `json:"cursor,omitempty"`
	Limit    int64    `json:"limit,omitempty"`
	Member   string   `json:"member,omitempty"`
	Members  RankList `json:"members,omitempty"`
	By       float64  `json:"by,omitempty"`
	Start    int64    `json:"start,omitempty"`
	Stop     int64    `json:"stop,omitempty"`
	Reverse  bool     `json:"reverse,omitempty"`
	ByScore  bool     `json:"by_score,omitempty"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	Tags     TextList `json:"tags,omitempty"`
	Ops      OpList   `json:"ops,omitempty"`

	items   [1]Item // what is given to the store; kept here to be used again
	storage string  // that of the call before; a worker nearly always asks the same one, which saves the copy
}

// Result is the answer of these methods, and of one operation of kv.Batch.
type Result struct {
	OK      bool      `json:"ok"`
	Found   bool      `json:"found,omitempty"`
	Value   []byte    `json:"value,omitempty"`
	Version int64     `json:"version,omitempty"`
	TTL     int64     `json:"ttl,omitempty"`
	Number  int64     `json:"number,omitempty"`
	Score   float64   `json:"score,omitempty"`
	Keys    TextList  `json:"keys,omitempty"`
	Cursor  string    `json:"cursor,omitempty"`
	Members RankList  `json:"members,omitempty"`
	Token   string    `json:"token,omitempty"`
	Fence   int64     `json:"fence,omitempty"`
	Error   string    `json:"error,omitempty"`
	Results []Result  `json:"results,omitempty"`
	Stats   *StatsMsg `json:"stats,omitempty"`
}

// StatsMsg is Stats on the wire.
type StatsMsg struct {
	Driver   string   `json:"driver"`
	Keys     int64    `json:"keys"`
	Bytes    int64    `json:"bytes"`
	MaxBytes int64    `json:"max_bytes"`
	Hits     uint64   `json:"hits"`
	Misses   uint64   `json:"misses"`
	Sets     uint64   `json:"sets"`
	Refused  uint64   `json:"refused"`
	Expired  uint64   `json:"expired"`
	Evicted  uint64   `json:"evicted"`
	Can      TextList `json:"can"`
}

// Lists that are bounded while JSON is decoded.
type (
	RankList []Ranked
	TextList []string
	OpList   []Op
)

// UnmarshalJSON stops at the bound.
func (l *RankList) UnmarshalJSON(data []byte) error { return boundedJSON((*[]Ranked)(l), data) }

// UnmarshalJSON stops at the bound.
func (l *TextList) UnmarshalJSON(data []byte) error { return boundedJSON((*[]string)(l), data) }

// UnmarshalJSON stops at the bound, and at operations within operations.
func (l *OpList) UnmarshalJSON(data []byte) error {
	*l = (*l)[:0]
	var raw []json.RawMessage
	if err := boundedJSON(&raw, data); err != nil {
		return err
	}
	for _, one := range raw {
		var nested struct{ Ops json.RawMessage }
		if err := json.Unmarshal(one, &nested); err != nil {
			return err
		}
		if len(nested.Ops) > 0 && string(nested.Ops) != "null" {
			return errNested
		}
		var op Op
		if err := json.Unmarshal(one, &op); err != nil {
			return err
		}
		*l = append(*l, op)
	}
	return nil
}

var errNested = errors.New("a batch cannot hold a batch")

func boundedJSON[T any](list *[]T, data []byte) error {
	*list = (*list)[:0]
	if string(data) == "null" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('[') {
		return errors.New("must be a list")
	}
	for dec.More() {
		if len(*list) == maxItems {
			return errTooManyItems
		}
		var one T
		if err := dec.Decode(&one); err != nil {
			return err
		}
		*list = append(*list, one)
	}
	return nil
}

// ParseProto decodes data over what o holds, as protobuf messages are merged.
func (o *Op) ParseProto(data []byte) error { return o.parse(data, false) }

func (o *Op) parse(data []byte, inside bool) error {
	return eachField(data, func(f field) (err error) {
		switch f.num {
		case 1:
			if o.Storage = o.storage; string(f.data) != o.storage || f.kind != protowire.BytesType {
				o.Storage, err = f.text()
			}
		case 2:
			o.Op, err = f.text()
		case 3:
			o.Key, err = f.raw()
		case 4:
			err = f.bytes(&o.Value)
		case 5:
			err = f.int(&o.TTL)
		case 6:
			err = f.bool(&o.KeepTTL)
		case 7:
			err = f.int(&o.Delta)
		case 8:
			err = f.int(&o.Version)
		case 9:
			err = f.bool(&o.Absent)
		case 10:
			err = f.bytes(&o.Expected)
		case 11:
			o.Token, err = f.text()
		case 12:
			err = f.int(&o.Lease)
		case 13:
			err = f.int(&o.Wait)
		case 14:
			o.Prefix, err = f.raw()
		case 15:
			o.Cursor, err = f.raw()
		case 16:
			err = f.int(&o.Limit)
		default:
			err = o.parseMore(f, inside)
		}
		return err
	})
}

func (o *Op) parseMore(f field, inside bool) (err error) {
	switch f.num {
	case 17:
		o.Member, err = f.raw()
	case 18:
		err = appendRanked((*[]Ranked)(&o.Members), f)
	case 19:
		err = f.double(&o.By)
	case 20:
		err = f.int(&o.Start)
	case 21:
		err = f.int(&o.Stop)
	case 22:
		err = f.bool(&o.Reverse)
	case 23:
		err = f.bool(&o.ByScore)
	case 24:
		o.Min = new(float64)
		err = f.double(o.Min)
	case 25:
		o.Max = new(float64)
		err = f.double(o.Max)
	case 26:
		err = appendTexts((*[]string)(&o.Tags), f)
	case 27:
		if inside {
			return errNested
		}
		if len(o.Ops) == maxItems {
			return errTooManyItems
		}
		data, err := f.message()
		if err != nil {
			return err
		}
		o.Ops = append(o.Ops, Op{})
		return o.Ops[len(o.Ops)-1].parse(data, true)
	}
	return err
}

// AppendProto appends the encoded message to dst.
func (o *Op) AppendProto(dst []byte) []byte {
	w := writer{dst}
	w.text(1, o.Storage)
	w.text(2, o.Op)
	w.text(3, o.Key)
	w.bytes(4, o.Value)
	w.int(5, o.TTL)
	w.bool(6, o.KeepTTL)
	w.int(7, o.Delta)
	w.int(8, o.Version)
	w.bool(9, o.Absent)
	w.bytes(10, o.Expected)
	w.text(11, o.Token)
	w.int(12, o.Lease)
	w.int(13, o.Wait)
	w.text(14, o.Prefix)
	w.text(15, o.Cursor)
	w.int(16, o.Limit)
	w.text(17, o.Member)
	w.ranked(18, o.Members)
	w.double(19, o.By)
	w.int(20, o.Start)
	w.int(21, o.Stop)
	w.bool(22, o.Reverse)
	w.bool(23, o.ByScore)
	w.bound(24, o.Min)
	w.bound(25, o.Max)
	w.texts(26, o.Tags)
	for i := range o.Ops {
		w.bytes(27, o.Ops[i].AppendProto(nil), true)
	}
	return w.dst
}

// ParseProto decodes data over what r holds.
func (r *Result) ParseProto(data []byte) error { return r.parse(data, false) }

func (r *Result) parse(data []byte, inside bool) error {
	return eachField(data, func(f field) (err error) {
		switch f.num {
		case 1:
			err = f.bool(&r.OK)
		case 2:
			err = f.bool(&r.Found)
		case 3:
			err = f.bytes(&r.Value)
		case 4:
			err = f.int(&r.Version)
		case 5:
			err = f.int(&r.TTL)
		case 6:
			err = f.int(&r.Number)
		case 7:
			err = f.double(&r.Score)
		case 8:
			err = appendTexts((*[]string)(&r.Keys), f)
		case 9:
			r.Cursor, err = f.raw()
		case 10:
			err = appendRanked((*[]Ranked)(&r.Members), f)
		case 11:
			r.Token, err = f.text()
		case 12:
			err = f.int(&r.Fence)
		case 13:
			r.Error, err = f.text()
		case 14:
			err = r.appendResult(f, inside)
		case 15:
			data, err := f.message()
			if err != nil {
				return err
			}
			if r.Stats == nil {
				r.Stats = new(StatsMsg)
			}
			return r.Stats.parse(data)
		}
		return err
	})
}

func (r *Result) appendResult(f field, inside bool) error {
	data, err := f.message()
	switch {
	case err != nil:
		return err
	case inside:
		return errNested
	case len(r.Results) == maxItems:
		return errTooManyItems
	}
	r.Results = append(r.Results, Result{})
	return r.Results[len(r.Results)-1].parse(data, true)
}

// AppendProto appends the encoded message to dst.
func (r *Result) AppendProto(dst []byte) []byte {
	w := writer{dst}
	w.bool(1, r.OK)
	w.bool(2, r.Found)
	w.bytes(3, r.Value)
	w.int(4, r.Version)
	w.int(5, r.TTL)
	w.int(6, r.Number)
	w.double(7, r.Score)
	w.texts(8, r.Keys)
	w.text(9, r.Cursor)
	w.ranked(10, r.Members)
	w.text(11, r.Token)
	w.int(12, r.Fence)
	w.text(13, r.Error)
	for i := range r.Results {
		w.bytes(14, r.Results[i].AppendProto(nil), true)
	}
	if r.Stats != nil {
		w.bytes(15, r.Stats.append(nil), true)
	}
	return w.dst
}

func (s *StatsMsg) parse(data []byte) error {
	return eachField(data, func(f field) (err error) {
		switch f.num {
		case 1:
			s.Driver, err = f.text()
		case 2:
			err = f.int(&s.Keys)
		case 3:
			err = f.int(&s.Bytes)
		case 4:
			err = f.int(&s.MaxBytes)
		case 11:
			err = appendTexts((*[]string)(&s.Can), f)
		case 5, 6, 7, 8, 9, 10:
			var n int64
			err = f.int(&n)
			*s.counters()[f.num-5] = uint64(n)
		}
		return err
	})
}

func (s *StatsMsg) append(dst []byte) []byte {
	w := writer{dst}
	w.text(1, s.Driver)
	w.int(2, s.Keys)
	w.int(3, s.Bytes)
	w.int(4, s.MaxBytes)
	for i, n := range s.counters() {
		w.int(protowire.Number(5+i), int64(*n))
	}
	w.texts(11, s.Can)
	return w.dst
}

func (s *StatsMsg) counters() [6]*uint64 {
	return [6]*uint64{&s.Hits, &s.Misses, &s.Sets, &s.Refused, &s.Expired, &s.Evicted}
}

func appendRanked(list *[]Ranked, f field) error {
	data, err := f.message()
	if err != nil {
		return err
	}
	if len(*list) == maxItems {
		return errTooManyItems
	}
	var m Ranked
	err = eachField(data, func(f field) (err error) {
		switch f.num {
		case 1:
			m.Member, err = f.raw()
		case 2:
			err = f.double(&m.Score)
		}
		return err
	})
	*list = append(*list, m)
	return err
}

func appendTexts(list *[]string, f field) error {
	if len(*list) == maxItems {
		return errTooManyItems
	}
	s, err := f.raw()
	*list = append(*list, s)
	return err
}

// bounds of a span by score that has none of its own.
func bounds(low, high *float64) (float64, float64) {
	least, most := math.Inf(-1), math.Inf(1)
	if low != nil {
		least = *low
	}
	if high != nil {
		most = *high
	}
	return least, most
}
