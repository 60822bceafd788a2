package kv

// StorageName is the store that the request is for, as spans name it.
func (r *Request) StorageName() string { return r.Storage }
