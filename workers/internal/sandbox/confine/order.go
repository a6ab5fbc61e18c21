package confine

// Variable is the environment variable that makes a process obey an order. Its value is the number of the
// descriptor from which the order is read.
const Variable = "REELMILL_SANDBOX_ORDER"

// ExitFailed is the exit status of a process that could not obey its order.
const ExitFailed = 126

// Unset is the value of a descriptor or limit that an order leaves out.
const Unset = -1

// Order says how to restrict a process, and what it becomes.
type Order struct {
	Path string   // of the program to execute
	Args []string // with the program's name first
	Env  []string

	Status  int // descriptor that gets the reason of a failure
	Order   int // descriptor of this order
	Ruleset int // descriptor of a Landlock ruleset; Unset: none
	Network int // descriptor of a network namespace to enter; Unset: none
	Keep    int // the number of the highest descriptor that the program keeps

	Filter []byte // an assembled seccomp filter, struct sock_filter[]; empty: none
	Pid    int    // offset in Filter of the four bytes that get the process id; Unset: none
	Limits []Limit
	Memory []Limit // set last: this process may already have more than they allow
	Nice   int     // of the program, 0 to 19; 0: that of this process
	Check  bool    // execute nothing: try what is forbidden, and exit with 0 if none of it succeeds
}

// Failure is why an order was not obeyed. It comes through Order.Status.
type Failure struct {
	What  string // the step that failed
	Errno int    // the kernel's reason
}

// encode writes a failure for DecodeFailure.
func (f Failure) encode() []byte {
	return appendString(appendNumber(nil, uint64(f.Errno)), f.What)
}

// DecodeFailure reads a failure. ok is false if the bytes are none.
func DecodeFailure(b []byte) (f Failure, ok bool) {
	r := reader{b: b}
	f.Errno, f.What = int(r.number()), r.string()
	return f, !r.short && len(r.b) == 0
}

// Limit is a resource limit of setrlimit(2).
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// Encode writes an order for decode: numbers as eight bytes, strings and lists with their length first. (The
// packages that encode such things import too much.)
func (o Order) Encode() []byte {
	var b []byte
	b = appendString(b, o.Path)
	b = appendStrings(b, o.Args)
	b = appendStrings(b, o.Env)
	for _, n := range []int{o.Status, o.Order, o.Ruleset, o.Network, o.Keep} {
		b = appendNumber(b, uint64(n))
	}
	b = appendString(b, string(o.Filter))
	b = appendNumber(b, uint64(o.Pid))
	b = appendLimits(b, o.Limits)
	b = appendLimits(b, o.Memory)
	b = appendNumber(b, uint64(o.Nice))
	if o.Check {
		return appendNumber(b, 1)
	}
	return appendNumber(b, 0)
}

func appendNumber(b []byte, n uint64) []byte {
	for range 8 {
		b, n = append(b, byte(n)), n>>8
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(appendNumber(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendNumber(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendLimits(b []byte, list []Limit) []byte {
	b = appendNumber(b, uint64(len(list)))
	for _, l := range list {
		b = appendNumber(appendNumber(appendNumber(b, uint64(l.Resource)), l.Soft), l.Hard)
	}
	return b
}

// decode reads an order that Encode wrote. ok is false if the bytes are none.
func decode(b []byte) (o Order, ok bool) {
	r := reader{b: b}
	o.Path, o.Args, o.Env = r.string(), r.strings(), r.strings()
	for _, n := range []*int{&o.Status, &o.Order, &o.Ruleset, &o.Network, &o.Keep} {
		*n = int(r.number())
	}
	o.Filter = []byte(r.string())
	o.Pid = int(r.number())
	o.Limits, o.Memory = r.limits(), r.limits()
	o.Nice = int(r.number())
	o.Check = r.number() == 1
	return o, !r.short && len(r.b) == 0 && o.Pid+4 <= max(len(o.Filter), 4+Unset)
}

// reader takes values off the front of b, until one is too short.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) number() (n uint64) {
	if len(r.b) < 8 {
		r.b, r.short = nil, true
		return 0
	}
	for i := range 8 {
		n |= uint64(r.b[i]) << (8 * i)
	}
	r.b = r.b[8:]
	return n
}

func (r *reader) string() string {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.b, r.short = nil, true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// strings returns an empty list, not nil, for no strings.
func (r *reader) strings() []string {
	list := []string{}
	for n := r.number(); n > 0 && !r.short; n-- {
		list = append(list, r.string())
	}
	return list
}

func (r *reader) limits() (list []Limit) {
	for n := r.number(); n > 0 && !r.short; n-- {
		list = append(list, Limit{int(r.number()), r.number(), r.number()})
	}
	return list
}
