package abi

// Statuses of a [Result], beside the negative ones of [Errno].
const (
	StatusOK        int32 = 0
	StatusNotFound  int32 = 1
	StatusCondition int32 = 2
	StatusExists    int32 = 3
)

// ResultSize is the size of a [Result].
const ResultSize = 40

// Result is what an operation on a key came to: what a KV driver answers, and one item of a batch.
//
//	0  i32 status    8  i64 ttl_ms    24  u32 ptr       32  u32 err_ptr
//	4  u32 flags    16  i64 version   28  u32 len       36  u32 err_len
//
// ptr and len are the value: of get the bytes, of incr the new number as an i64 (len = 8), of scan a page; of expire and the
// rest there is none. Pointers are addresses in the guest's memory. err_ptr and err_len are a text for the log.
type Result struct {
	Status  int32
	Flags   uint32 // 0
	TTL     int64  // milliseconds that are left; -1 without an end
	Version int64  // of the key after the operation; 0: the store has none
	Ptr     uint32
	Len     uint32
	ErrPtr  uint32
	ErrLen  uint32
}

// Put writes r into b, which has ResultSize bytes.
func (r Result) Put(b []byte) {
	_ = b[ResultSize-1]
	put32(b[0:], uint32(r.Status))
	put32(b[4:], r.Flags)
	put64(b[8:], uint64(r.TTL))
	put64(b[16:], uint64(r.Version))
	put32(b[24:], r.Ptr)
	put32(b[28:], r.Len)
	put32(b[32:], r.ErrPtr)
	put32(b[36:], r.ErrLen)
}

// ReadResult reads what Put wrote; b has at least ResultSize bytes.
func ReadResult(b []byte) Result {
	_ = b[ResultSize-1]
	return Result{
		Status: int32(get32(b[0:])), Flags: get32(b[4:]), TTL: int64(get64(b[8:])), Version: int64(get64(b[16:])),
		Ptr: get32(b[24:]), Len: get32(b[28:]), ErrPtr: get32(b[32:]), ErrLen: get32(b[36:]),
	}
}

// Codes of the operations of a batch.
const (
	OpGet    uint32 = 1
	OpSet    uint32 = 2
	OpDelete uint32 = 3
	OpIncr   uint32 = 4 // the value is the delta, an i64
	OpExpire uint32 = 5
)

// OpSize is the size of an [Op] without key and value.
const OpSize = 32

// Op is one operation of a batch. Key and value follow its head; the next operation follows at once.
//
//	0  u32 op         8  u32 value_len   16  i64 ttl_ms    32  key, value
//	4  u32 key_len   12  u32 flags       24  i64 version
type Op struct {
	Op      uint32
	Flags   uint32
	TTL     int64 // milliseconds; 0: for ever
	Version int64
	Key     []byte
	Value   []byte
}

// AppendOp appends o to a batch.
func AppendOp(b []byte, o Op) []byte {
	var head [OpSize]byte
	put32(head[0:], o.Op)
	put32(head[4:], uint32(len(o.Key)))
	put32(head[8:], uint32(len(o.Value)))
	put32(head[12:], o.Flags)
	put64(head[16:], uint64(o.TTL))
	put64(head[24:], uint64(o.Version))
	return append(append(append(b, head[:]...), o.Key...), o.Value...)
}

// NextOp takes the first operation off a batch. Its key and value are parts of b. It reports false for bytes that are none.
func NextOp(b []byte) (o Op, rest []byte, ok bool) {
	if len(b) < OpSize {
		return Op{}, nil, false
	}
	keyLen, valueLen := uint64(get32(b[4:])), uint64(get32(b[8:]))
	if uint64(len(b)-OpSize) < keyLen+valueLen {
		return Op{}, nil, false
	}
	key, value := b[OpSize:OpSize+keyLen:OpSize+keyLen], b[OpSize+keyLen:OpSize+keyLen+valueLen:OpSize+keyLen+valueLen]
	o = Op{Op: get32(b), Flags: get32(b[12:]), TTL: int64(get64(b[16:])), Version: int64(get64(b[24:])), Key: key, Value: value}
	return o, b[OpSize+keyLen+valueLen:], true
}

// A page of a scan:
//
//	u32 cursor_len, cursor, then for each key u32 len, key
//
// An empty cursor says that this was the last page; a page may have no keys and still not be the last.

// AppendScanCursor begins a page with the cursor of the next one.
func AppendScanCursor(b, cursor []byte) []byte { return AppendScanKey(b, cursor) }

// AppendScanKey appends a key to a page.
func AppendScanKey(b, key []byte) []byte {
	var n [4]byte
	put32(n[:], uint32(len(key)))
	return append(append(b, n[:]...), key...)
}

// NextScanItem takes the cursor, then one key after the other off a page. It reports false at the end, and for bytes that are
// no page.
func NextScanItem(b []byte) (item, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(get32(b))
	if uint64(len(b)-4) < n {
		return nil, nil, false
	}
	return b[4 : 4+n : 4+n], b[4+n:], true
}

func put32(b []byte, v uint32) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func put64(b []byte, v uint64) {
	put32(b, uint32(v))
	put32(b[4:], uint32(v>>32))
}

func get32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func get64(b []byte) uint64 { return uint64(get32(b)) | uint64(get32(b[4:]))<<32 }
