//go:build linux && (amd64 || arm64)

package confine

// ExitFailed is the exit status of a process that could not obey its order.
const ExitFailed = 126

// Unset is the value of a descriptor or offset that an order leaves out.
const Unset = -1

// Order says how to restrict a process, and what it becomes.
type Order struct {
	Path string   // of the program to execute
	Args []string // with the program's name first
	Env  []string

	Status  int // descriptor that gets the report of a failure
	Image   int // descriptor of the file that Program is in
	Ruleset int // descriptor of a Landlock ruleset; Unset: none
	Network int // descriptor of a network namespace to enter; Unset: none
	Keep    int // the number of the highest descriptor that the program keeps

	Filter       []byte // an assembled seccomp filter, struct sock_filter[]; empty: none
	Pid          int    // offset in Filter of the four bytes that get the process id; Unset: none
	Limits       []Limit
	Memory       []Limit // set last
	Nice         int     // of the program, 0 to 19; 0: that of this process
	Capabilities uint32  // the set of capabilities 0 to 31 that the program keeps. The process must have them
	Check        bool    // execute nothing: try what is forbidden, and exit with 0 if none of it succeeds
}

// Limit is a resource limit of setrlimit(2).
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// Failure is why an order was not obeyed.
type Failure struct {
	What  string // the step that failed
	Errno int    // the kernel's reason; 0: it let something happen that must be refused
}
