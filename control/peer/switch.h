/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The switch: a pure machine, (state, event) -> (state, actions), one on each
 * end of an association. No I/O, no clock, no memory: the caller (assoc.c)
 * feeds events and carries the actions out, in the order of their bits.
 * tests/model/ explores this very code, both ends and a hostile network.
 *
 * What the caller promises:
 *  - "old" is the path in use, "new" the target (mobile: what the caller chose; anchor: where
 *    TARGET said). New may be the same path as old. After FLIP new is the path in use.
 *  - Messages are fed once they are opened (epoch, authenticity, replay) and `from` agreed with
 *    the address seen; RX_ALL_REDIRECTED only when it came on new. They may be late, doubled,
 *    swapped. But never one of an older epoch: ids begin anew with RESET, so it could look
 *    newer than all to come. And the peer's count is taken when START_DRAIN follows, not before.
 *  - An action that sends (SEND_..., CHALLENGE) starts the retry interval anew, longer each time
 *    when RETRY was the cause. START_TIMERS starts the switch timeout Z.
 *  - The anchor's Z is more than twice the mobile's: the mobile's second attempt must find
 *    something. The grace period of a make-before-break switch is no shorter than the mobile's Z.
 */
#ifndef HOLDFAST_SWITCH_H
#define HOLDFAST_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/wire.h>

/* X(symbol, text). Names say what happened last. */
#define SWITCH_STATES(X)                                                                           \
	X(DISCONNECTED, "disconnected")           /* both: nothing leads out but RESET */          \
	X(SETTLED, "settled")                     /* both: no switch under way */                  \
	X(STEP1_SENT, "step1-sent")               /* mobile: waits for ACK */                      \
	X(FENCE_SENT, "fence-sent")               /* mobile: waits for drain and OK */             \
	X(CLIENT_READY_SENT, "client-ready-sent") /* mobile: waits for SERVER_READY */             \
	X(OLD_LEFT, "old-left")                   /* mobile: planned, waits for a path */          \
	X(STEP2_SENT, "step2-sent")               /* mobile: waits for ALL_REDIRECTED */           \
	X(PATH_LOST, "path-lost")                 /* mobile: unexpected, waits for a path */       \
	X(UNEXPECTED_SENT, "unexpected-sent")     /* mobile: waits for ALL_REDIRECTED */           \
	X(STEP1_TAKEN, "step1-taken")             /* anchor: waits for fence and drain */          \
	X(OK_SENT, "ok-sent")                     /* anchor: waits for CLIENT_READY */             \
	X(SERVER_READY_SENT, "server-ready-sent") /* anchor: waits for STEP2 */                    \
	X(CHALLENGE_SENT, "challenge-sent")       /* anchor: waits for PATH_RESPONSE */            \
	X(PEER_LOST, "peer-lost")                 /* anchor: waits for SWITCH_UNEXPECTED */

enum switch_state {
#define SWITCH_STATE_ENUM(symbol, text) SWITCH_##symbol,
	SWITCH_STATES(SWITCH_STATE_ENUM)
#undef SWITCH_STATE_ENUM
		SWITCH_STATE_COUNT
};

/* X(symbol, text) */
#define SWITCH_EVENTS(X)                                                                           \
	X(PLAN, "plan")               /* mobile: user or policy asks for a planned switch */       \
	X(LOSE, "lose")               /* the path in use (mobile, after STEP2: new) is dead */     \
	X(REGAIN, "regain")           /* the path in use answers again */                          \
	X(PATH_USABLE, "path-usable") /* mobile: new is chosen and can be sent on */               \
	X(DRAIN,                                                                                   \
	  "drain") /* all that the peer's fence counted has come, or its bounded time is over */   \
	X(VALIDATE, "validate") /* anchor: new answered its challenge */                           \
	X(RETRY, "retry")       /* retry interval is over */                                       \
	X(EXPIRE, "expire")     /* switch timeout Z is over */                                     \
	X(RESET, "reset")       /* CONNECT is done; new is the path it ran on */                   \
	X(RX_STEP1, "rx-step1")                                                                    \
	X(RX_ACK, "rx-ack")                                                                        \
	X(RX_LAST_MESSAGE, "rx-last-message")                                                      \
	X(RX_OK, "rx-ok")                                                                          \
	X(RX_CLIENT_READY, "rx-client-ready")                                                      \
	X(RX_SERVER_READY, "rx-server-ready")                                                      \
	X(RX_STEP2, "rx-step2")                                                                    \
	X(RX_ALL_REDIRECTED, "rx-all-redirected")                                                  \
	X(RX_UNEXPECTED, "rx-unexpected")

enum switch_event {
#define SWITCH_EVENT_ENUM(symbol, text) SWITCH_EVENT_##symbol,
	SWITCH_EVENTS(SWITCH_EVENT_ENUM)
#undef SWITCH_EVENT_ENUM
		SWITCH_EVENT_COUNT
};

/* Carried out in this order, lowest bit first. X(symbol, text) */
#define SWITCH_ACTIONS(X)                                                                          \
	X(PARK, "park")               /* hold our outgoing data */                                 \
	X(TARGET, "target")           /* anchor: new is the path on which this message came */     \
	X(START_DRAIN, "start-drain") /* count to the peer's fence: DRAIN will follow */           \
	X(SEND_STEP1, "send-step1")   /* on old */                                                 \
	X(SEND_ACK, "send-ack")       /* on old */                                                 \
	X(SEND_LAST_MESSAGE, "send-last-message") /* on old, with our count */                     \
	X(SEND_OK, "send-ok")                     /* on old */                                     \
	X(SEND_CLIENT_READY, "send-client-ready") /* on old */                                     \
	X(SEND_SERVER_READY, "send-server-ready") /* on old */                                     \
	X(LEAVE_OLD, "leave-old")                 /* mobile: the old link may be closed now */     \
	X(CHOOSE, "choose")         /* mobile: PATH_USABLE, when any path can be sent on */        \
	X(ACCEPT_NEW, "accept-new") /* take data from new, beside all accepted before */           \
	X(SEND_STEP2, "send-step2") /* on new */                                                   \
	X(SEND_UNEXPECTED, "send-unexpected") /* on new */                                         \
	X(CHALLENGE, "challenge") /* anchor: PATH_CHALLENGE to new, with the same nonce as long as \
				     new is the same */                                            \
	X(FLIP, "flip")           /* the one write: outgoing data goes to new */                   \
	X(SEND_ALL_REDIRECTED,                                                                     \
	  "send-all-redirected") /* on the path in use, wherever the message came from */          \
	X(GRACE_OLD,                                                                               \
	  "grace-old")          /* paths not in use are accepted for the grace period, then not */ \
	X(DROP_OLD, "drop-old") /* paths not in use are not accepted any more */                   \
	X(UNPARK, "unpark")     /* release in order what was parked */                             \
	X(START_TIMERS, "start-timers") /* switch timeout from the beginning */                    \
	X(STOP_TIMERS, "stop-timers")   /* both timers */                                          \
	X(DONE, "done")                 /* report success */                                       \
	X(FAIL, "fail") /* mobile: report failure and CONNECT anew; what is parked stays parked */ \
	X(CLEAN_UP, "clean-up") /* anchor: mobile counts as disconnected, free everything, parked  \
				   packets too */

enum switch_action {
#define SWITCH_ACTION_BIT(symbol, text) SWITCH_ACTION_BIT_##symbol,
	SWITCH_ACTIONS(SWITCH_ACTION_BIT)
#undef SWITCH_ACTION_BIT
		SWITCH_ACTION_COUNT
};
#define SWITCH_DO(symbol) (1u << SWITCH_ACTION_BIT_##symbol)

struct switch_machine {
	enum hf_role role;
	enum switch_state state;
	uint32_t id;     /* of the switch under way, or of the last one; rises, may wrap */
	bool parked;     /* we hold our outgoing data */
	bool mbb;        /* the planned switch under way is make-before-break */
	bool told;       /* mobile: the anchor may have heard of the switch under way */
	bool fenced;     /* the peer's LAST_MESSAGE has come */
	bool drained;    /* mobile: and all that it counted */
	bool ok;         /* mobile: OK_TO_REDIRECTION has come */
	bool unexpected; /* anchor: the switch `id` is an unexpected one */
	bool done;       /* anchor: ALL_REDIRECTED was sent for `id` */
};

struct switch_input {
	enum switch_event event;
	uint32_t id; /* RX_*: switch_id of the message; RESET: where ids start, 0 at both ends */
	bool mbb;    /* PLAN: wanted; RX_STEP1: flag of the message */
	bool usable; /* LOSE, EXPIRE, RX_SERVER_READY at the mobile: new is chosen and can be sent
			on */
	bool validated; /* RX_STEP2, RX_UNEXPECTED: the sender's address has answered a challenge */
};

/* Begins DISCONNECTED. A daemon that adopts an association whose data plane is parking feeds
 * LOSE before anything else, so that RESET will release. */
void switch_init(struct switch_machine *m, enum hf_role role);

/* Takes one event; returns the actions, SWITCH_DO() bits. A message or event that does
 * not fit the state returns 0 and changes nothing. */
uint32_t switch_step(struct switch_machine *m, const struct switch_input *in);

const char *switch_state_name(enum switch_state s);
const char *switch_event_name(enum switch_event e);
const char *switch_action_name(enum switch_action a);

#endif
