package kv

// StorageName is the store of the request.
func (f *Fetch) StorageName() string { return f.storage }

// StorageName is the store that the request is for, as spans name it.
func (r *Request) StorageName() string { return r.Storage }

// StorageName is the store that the operation is for.
func (o *Op) StorageName() string { return o.Storage }
