/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The switch: a pure machine, (state, event) -> (state, actions), one on each
 * end of an association. No I/O, no clock, no memory: the caller (assoc.c)
 * feeds events and carries the actions out, in the order of their bits.
 * tests/model/switch.pml is the same machine in Promela.
 */
#ifndef HOLDFAST_SWITCH_H
#define HOLDFAST_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/wire.h>

/* X(symbol, text). Names say what happened last. */
#define SWITCH_STATES(X)                                                                   \
	X(SETTLED, "settled")                       /* both: no switch under way */        \
	X(STEP1_SENT, "step1-sent")                 /* mobile: waits for ACK */            \
	X(FENCE_SENT, "fence-sent")                 /* mobile: waits for drain and OK */   \
	X(CLIENT_READY_SENT, "client-ready-sent")   /* mobile: waits for SERVER_READY */   \
	X(OLD_LEFT, "old-left")                     /* mobile: planned, waits for a path */ \
	X(STEP2_SENT, "step2-sent")                 /* mobile: waits for ALL_REDIRECTED */ \
	X(PATH_LOST, "path-lost")                   /* mobile: unexpected, waits for a path */ \
	X(UNEXPECTED_SENT, "unexpected-sent")       /* mobile: waits for ALL_REDIRECTED */ \
	X(STEP1_TAKEN, "step1-taken")               /* anchor: waits for fence and drain */ \
	X(OK_SENT, "ok-sent")                       /* anchor: waits for CLIENT_READY */   \
	X(SERVER_READY_SENT, "server-ready-sent")   /* anchor: waits for STEP2 */          \
	X(CHALLENGE_SENT, "challenge-sent")         /* anchor: waits for PATH_RESPONSE */  \
	X(PEER_LOST, "peer-lost")                   /* anchor: waits for SWITCH_UNEXPECTED */

enum switch_state {
#define SWITCH_STATE_ENUM(symbol, text) SWITCH_##symbol,
	SWITCH_STATES(SWITCH_STATE_ENUM)
#undef SWITCH_STATE_ENUM
	SWITCH_STATE_COUNT
};

/* X(symbol, text) */
#define SWITCH_EVENTS(X)                                                                 \
	X(PLAN, "plan")               /* mobile: user or policy asks for a planned switch */ \
	X(LOSE, "lose")               /* the current (or, after STEP2, the new) path is dead */ \
	X(REGAIN, "regain")           /* the current path answers again */               \
	X(PATH_USABLE, "path-usable") /* mobile: the target path can be sent on */       \
	X(DRAIN, "drain")             /* all that the peer's fence counted has come, or its bounded time is over */ \
	X(VALIDATE, "validate")       /* anchor: the new address answered its challenge */ \
	X(RETRY, "retry")             /* retransmission timer */                         \
	X(EXPIRE, "expire")           /* switch timeout Z */                             \
	X(RESET, "reset")             /* CONNECT done anew, or disconnected */           \
	X(RX_STEP1, "rx-step1")                                                          \
	X(RX_ACK, "rx-ack")                                                              \
	X(RX_LAST_MESSAGE, "rx-last-message")                                            \
	X(RX_OK, "rx-ok")                                                                \
	X(RX_CLIENT_READY, "rx-client-ready")                                            \
	X(RX_SERVER_READY, "rx-server-ready")                                            \
	X(RX_STEP2, "rx-step2")                                                          \
	X(RX_ALL_REDIRECTED, "rx-all-redirected")                                        \
	X(RX_UNEXPECTED, "rx-unexpected")                                                \
	X(RX_CANCEL, "rx-cancel")

enum switch_event {
#define SWITCH_EVENT_ENUM(symbol, text) SWITCH_EVENT_##symbol,
	SWITCH_EVENTS(SWITCH_EVENT_ENUM)
#undef SWITCH_EVENT_ENUM
	SWITCH_EVENT_COUNT
};

/* Carried out in this order, lowest bit first. "old" = path in use, "new" = target
 * path (mobile) or path on which STEP2 or UNEXPECTED came (anchor). */
#define SWITCH_ACTIONS(X)                                                                  \
	X(PARK, "park")                 /* hold our outgoing data */                       \
	X(TARGET, "target")             /* anchor: "new" is the path of this message */    \
	X(START_DRAIN, "start-drain")   /* watch for the peer's fence: DRAIN will follow */ \
	X(SEND_STEP1, "send-step1")     /* on old */                                       \
	X(SEND_ACK, "send-ack")         /* on old */                                       \
	X(SEND_LAST_MESSAGE, "send-last-message") /* on old, with our count */             \
	X(SEND_OK, "send-ok")           /* on old */                                       \
	X(SEND_CLIENT_READY, "send-client-ready") /* on old */                             \
	X(SEND_SERVER_READY, "send-server-ready") /* on old */                             \
	X(SEND_CANCEL, "send-cancel")   /* on old */                                       \
	X(LEAVE_OLD, "leave-old")       /* mobile: the old link may be closed now */       \
	X(CHOOSE, "choose")             /* mobile: pick a target; PATH_USABLE follows when there is one */ \
	X(ACCEPT_NEW, "accept-new")     /* take data from new, beside old */               \
	X(SEND_STEP2, "send-step2")     /* on new */                                       \
	X(SEND_UNEXPECTED, "send-unexpected") /* on new */                                 \
	X(CHALLENGE, "challenge")       /* anchor: PATH_CHALLENGE to new; VALIDATE will follow */ \
	X(FLIP, "flip")                 /* the one write: outgoing data goes to new */     \
	X(SEND_ALL_REDIRECTED, "send-all-redirected") /* on new */                         \
	X(GRACE_OLD, "grace-old")       /* old is accepted for the grace period, then not */ \
	X(DROP_OLD, "drop-old")         /* old is not accepted any more (it is gone) */    \
	X(UNPARK, "unpark")             /* release in order what was parked */             \
	X(START_TIMERS, "start-timers") /* retry and switch timers, from the beginning */  \
	X(STOP_TIMERS, "stop-timers")                                                      \
	X(DONE, "done")                 /* report success */                               \
	X(FAIL, "fail")                 /* mobile: procedure failed, report; the association must CONNECT anew */ \
	X(CLEAN_UP, "clean-up")         /* anchor: mobile counts as disconnected, free everything */

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
	uint32_t id;      /* of the switch under way, or of the last one; rises */
	bool mbb;         /* this switch is make-before-break */
	bool parked;      /* we hold our outgoing data */
	bool acked;       /* mobile: ACK has come */
	bool fenced;      /* the peer's LAST_MESSAGE has come */
	bool drained;
	bool ok;          /* mobile: OK_TO_REDIRECTION has come */
	bool done;        /* anchor: ALL_REDIRECTED was sent for `id` */
};

struct switch_input {
	enum switch_event event;
	uint32_t id;    /* RX_*: switch_id of the message */
	bool mbb;       /* PLAN: wanted; RX_STEP1: flag of the message */
	bool usable;    /* PLAN, LOSE, EXPIRE, RX_SERVER_READY at the mobile: a target path can be sent on now */
	bool validated; /* RX_STEP2, RX_UNEXPECTED at the anchor: the sender's address has answered a challenge */
};

void switch_init(struct switch_machine *m, enum hf_role role);

/* Takes one event; returns the actions, SWITCH_DO() bits. A message or event that does
 * not fit the state returns 0 and changes nothing. */
uint32_t switch_step(struct switch_machine *m, const struct switch_input *in);

const char *switch_state_name(enum switch_state s);
const char *switch_event_name(enum switch_event e);
const char *switch_action_name(enum switch_action a);

#endif
