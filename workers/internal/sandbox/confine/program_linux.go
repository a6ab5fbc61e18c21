//go:build amd64 || arm64

package confine

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"
)

// Where the two parts of a program are. Their places in the file and in memory are the same modulo the
// largest page size, 64 KiB, as the kernel demands.
const (
	textAddress = 0x400000
	dataOffset  = 0x10000
	dataAddress = 0x10000000 // known to the loop, too
)

// header begins the data. The loop knows where its fields are.
type header struct {
	Calls   uint64 // address of the first call
	Failure uint64 // address of the first call to make after a failure
	Report  report
}

// report is about a call that failed.
type report struct {
	Call   uint64 // its address
	Result int64
}

// call is a system call. The loop knows where its fields are.
type call struct {
	Number      uint64
	Args        [5]uint64
	Least, Most int64  // results between them are right. The kernel returns an error as its negative number
	Store       uint64 // address that gets the lower 32 bits of the result; 0: none
}

// sizeOf returns the bytes of a T in the data: its fields are all of eight bytes.
func sizeOf[T any]() uint64 {
	var t T
	return uint64(unsafe.Sizeof(t))
}

// Program is an ELF file whose process obeys an order.
type Program struct {
	text, data []byte
	calls      uint64   // address of the first call
	steps      []string // what each call is for
}

// WriteTo writes the file. It leaves holes, which are never read.
func (p *Program) WriteTo(file io.WriterAt) error {
	if _, err := file.WriteAt(p.text, 0); err != nil {
		return fmt.Errorf("write the program: %w", err)
	}
	if _, err := file.WriteAt(p.data, dataOffset); err != nil {
		return fmt.Errorf("write the program: %w", err)
	}
	return nil
}

// Failure reads what the program wrote to Order.Status. ok is false if that is no report.
func (p *Program) Failure(status []byte) (f Failure, ok bool) {
	var r report
	if n, err := binary.Decode(status, binary.NativeEndian, &r); err != nil || n != len(status) {
		return Failure{}, false
	}
	i := (r.Call - p.calls) / sizeOf[call]()
	if r.Call < p.calls || i >= uint64(len(p.steps)) {
		return Failure{}, false
	}
	return Failure{What: p.steps[i], Errno: int(-min(r.Result, 0))}, true
}

// writer puts a program together.
type writer struct {
	data  []byte // from dataAddress
	calls []call
	steps []string
}

func newWriter() *writer { return &writer{data: make([]byte, sizeOf[header]())} }

// do adds a call. It fails with any result but 0, or those that it allows.
func (w *writer) do(step string, c call) {
	w.calls, w.steps = append(w.calls, c), append(w.steps, step)
}

// put adds bytes to the data, and returns their address, which is a multiple of eight.
func (w *writer) put(b []byte) uint64 {
	w.data = append(w.data, make([]byte, -len(w.data)&7)...)
	w.data = append(w.data, b...)
	return dataAddress + uint64(len(w.data)-len(b))
}

// values adds a value or a list of them to the data, in the bytes of the machine.
func (w *writer) values(v any) uint64 {
	b, err := binary.Append(nil, binary.NativeEndian, v)
	if err != nil {
		panic(fmt.Sprintf("confine: %T has no fixed size", v)) // a fault of this package
	}
	return w.put(b)
}

// text adds a string as the kernel reads it, with a NUL at its end.
func (w *writer) text(s string) uint64 { return w.put(append([]byte(s), 0)) }

// texts adds strings as the kernel reads argv and envp: a list of addresses that ends with 0.
func (w *writer) texts(list []string) uint64 {
	addresses := make([]uint64, 0, len(list)+1)
	for _, s := range list {
		addresses = append(addresses, w.text(s))
	}
	return w.values(append(addresses, 0))
}

// program completes the program. The calls of failure have the results that they like.
func (w *writer) program(failure []call) *Program {
	h := header{Calls: w.values(w.calls), Failure: w.values(failure)}
	if _, err := binary.Encode(w.data, binary.NativeEndian, h); err != nil {
		panic("confine: the header has no fixed size") // a fault of this package
	}
	return &Program{text: image(loop(), len(w.data)), data: w.data, calls: h.Calls, steps: w.steps}
}

// image returns the headers of the ELF file and the code. Source: elf(5).
func image(code []byte, data int) []byte {
	const segments, headerSize, segmentSize = 3, 64, 56
	size := uint64(headerSize + segments*segmentSize + len(code))
	var b bytes.Buffer
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: textAddress + headerSize + segments*segmentSize, Phoff: headerSize,
		Ehsize: headerSize, Phentsize: segmentSize, Phnum: segments,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	for _, part := range []any{
		h,
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: textAddress,
			Filesz: size, Memsz: size, Align: dataOffset,
		},
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: dataOffset, Vaddr: dataAddress,
			Filesz: uint64(data), Memsz: uint64(data), Align: dataOffset,
		},
		elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic("confine: " + err.Error()) // a fault of this package: all have a fixed size
		}
	}
	return append(b.Bytes(), code...)
}

// loop returns the machine code that makes the calls. It is position-independent.
func loop() []byte {
	const most = 256 // bytes
	text := unsafe.Slice(loopStart(), most)
	end := binary.LittleEndian.AppendUint64(nil, endOfLoop)
	return bytes.Clone(text[:bytes.Index(text, end)])
}

// loopStart returns where the loop is in memory, which ends with endOfLoop.
func loopStart() *byte

// endOfLoop is "end loop".
const endOfLoop = 0x706f6f6c20646e65
