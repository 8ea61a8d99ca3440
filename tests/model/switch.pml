/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every order of events at both ends of a switch. The machines are
 * control/peer/switch.c itself, linked into the verifier; world.h holds what
 * surrounds them, steps.h the table of all that may happen. SPIN's part is to try every choice, from
 * every state, once: choice n is open or it is not (guards of embedded C may not call functions, so
 * each step leaves behind which steps are open next). run.sh says what is proved with which network.
 */
c_decl {
\#include "tests/model/steps.h"
}
c_state "struct world W" "Global"

bool rest; /* for the progress property: both ends settled, on one path, nothing parked */

#define STEP(n) \
	:: atomic { c_expr { now.W.open[n / 64] >> n % 64 & 1 } -> c_code { \
		step(&now.W, n); \
		now.rest = now.W.rest; \
		if (readtrail) tell(&now.W, n); \
		if (now.W.wrong) Uerror((char *)wrong_name(&now.W)); \
	} }
#define STEPS8(n) STEP(n##0) STEP(n##1) STEP(n##2) STEP(n##3) STEP(n##4) STEP(n##5) STEP(n##6) STEP(n##7)
/* octal: 01000 is 512 */
#ifndef STEPS_MAX
#define STEPS_MAX 512
#endif
#define STEPS64(n) STEPS8(n##0) STEPS8(n##1) STEPS8(n##2) STEPS8(n##3) STEPS8(n##4) STEPS8(n##5) STEPS8(n##6) STEPS8(n##7)

init {
	c_code { begin(&now.W); now.rest = now.W.rest; };
	do
	STEPS64(00)
	STEPS64(01)
	STEPS64(02)
#if STEPS_MAX > 192
	STEPS64(03)
	STEPS64(04)
#endif
#if STEPS_MAX > 320
	STEPS64(05)
	STEPS64(06)
	STEPS64(07)
#endif
#ifdef FINITE
	:: c_expr { now.W.rest } -> break /* the only place where nothing more may have to happen */
#endif
	od
}

#ifdef PROGRESS
ltl settles { [] <> rest }
#endif
