#include "textflag.h"

// func loopStart() *byte
TEXT ·loopStart(SB), NOSPLIT, $0-8
	MOVD	$loop<>(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// The code of a confining program. It uses no stack. program_linux.go has the layout of header and call.
TEXT loop<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD	$0x10000000, R19	// header
	MOVD	0(R19), R20		// header.Calls
make:
	MOVD	0(R20), R8		// call.Number
	MOVD	8(R20), R0		// call.Args
	MOVD	16(R20), R1
	MOVD	24(R20), R2
	MOVD	32(R20), R3
	MOVD	40(R20), R4
	MOVD	ZR, R5
	SVC
	MOVD	64(R20), R9		// call.Store
	CBZ	R9, judge
	MOVW	R0, (R9)
judge:
	MOVD	48(R20), R9		// call.Least
	CMP	R9, R0
	BLT	failed
	MOVD	56(R20), R9		// call.Most
	CMP	R9, R0
	BGT	failed
	ADD	$72, R20		// the next call
	B	make
failed:
	MOVD	R20, 16(R19)		// header.Report.Call
	MOVD	R0, 24(R19)		// header.Report.Result
	MOVD	8(R19), R20		// header.Failure
	B	make
	DWORD	$0x706f6f6c20646e65	// endOfLoop
