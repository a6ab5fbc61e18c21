#include "textflag.h"

// func loopStart() *byte
TEXT ·loopStart(SB), NOSPLIT, $0-8
	LEAQ	loop<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// The code of a confining program. It uses no stack. program_linux.go has the layout of header and call.
TEXT loop<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVL	$0x10000000, R12	// header
	MOVQ	0(R12), BX		// header.Calls
make:
	MOVQ	0(BX), AX		// call.Number
	MOVQ	8(BX), DI		// call.Args
	MOVQ	16(BX), SI
	MOVQ	24(BX), DX
	MOVQ	32(BX), R10
	MOVQ	40(BX), R8
	XORL	R9, R9
	SYSCALL
	MOVQ	64(BX), DX		// call.Store
	TESTQ	DX, DX
	JEQ	judge
	MOVL	AX, (DX)
judge:
	CMPQ	AX, 48(BX)		// call.Least
	JLT	failed
	CMPQ	AX, 56(BX)		// call.Most
	JGT	failed
	ADDQ	$72, BX			// the next call
	JMP	make
failed:
	MOVQ	BX, 16(R12)		// header.Report.Call
	MOVQ	AX, 24(R12)		// header.Report.Result
	MOVQ	8(R12), BX		// header.Failure
	JMP	make
	QUAD	$0x706f6f6c20646e65	// endOfLoop
