/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a packet or a control datagram was not simply translated.
 *
 * One list makes the enum, the counters (map "reasons"), the text and the JSON
 * key; nothing else may name a reason. New ones go to the end: the position is
 * part of the pinned layout.
 */
#ifndef HOLDFAST_REASON_H
#define HOLDFAST_REASON_H

/* X(symbol, json_key, text) */
#define HF_REASONS(X)                                                                              \
	X(NONE, "none", "no reason")                                                               \
	X(ENCODED, "encoded", "inner packets translated to outer")                                 \
	X(DECODED, "decoded", "outer packets translated to inner")                                 \
	X(PROBE_ECHOED, "probe_echoed", "path probes answered by the data plane")                  \
	X(PARKED, "parked", "handed to the daemon while the association is parked")                \
	X(FRAGMENT_EARLY, "fragment_early", "fragment came before the first of its packet")        \
	X(NO_SERVICE, "no_service", "no service for this destination")                             \
	X(NO_FLOW, "no_flow", "no flow, and this packet may not open one")                         \
	X(NO_ASSOC, "no_assoc", "association not connected")                                       \
	X(FLOWS_FULL, "flows_full", "flow map full: new flow refused")                             \
	X(ASSOC_FLOWS_FULL, "assoc_flows_full", "association at its flow limit: new flow refused") \
	X(ECHO_FULL, "echo_full", "no free echo identifier")                                       \
	X(PEER_UNKNOWN, "peer_unknown", "emulator port reached from an unknown address")           \
	X(PEER_NOT_CURRENT, "peer_not_current", "address is no current or graced point")           \
	X(MALFORMED, "malformed", "header cut short or inconsistent")                              \
	X(UNSUPPORTED, "unsupported", "protocol or header the data plane does not carry")          \
	X(TTL_EXPIRED, "ttl_expired", "hop limit reached")                                         \
	X(TOO_BIG, "too_big", "larger than the path's MTU")                                        \
	X(HELPER_FAILED, "helper_failed", "a kernel helper refused to change the packet")          \
	X(PARK_FULL, "park_full", "parking buffer full: packet dropped")                           \
	X(PARK_REPLACED, "park_replaced", "parked segment replaced by its retransmission")         \
	X(FRAGMENT_EXPIRED, "fragment_expired", "first fragment never came")                       \
	X(CTL_SHORT, "ctl_short", "control datagram of another size")                              \
	X(CTL_MAGIC, "ctl_magic", "control datagram of another version")                           \
	X(CTL_ASSOC, "ctl_assoc", "control datagram for no association")                           \
	X(CTL_EPOCH, "ctl_epoch", "control datagram of another epoch")                             \
	X(CTL_FORGED, "ctl_forged", "control datagram that does not authenticate")                 \
	X(CTL_REPLAY, "ctl_replay", "control datagram seen before")                                \
	X(CTL_ADDRESS, "ctl_address", "control datagram from an address it does not name")         \
	X(CTL_STATE, "ctl_state", "control message that does not fit the state")

enum hf_reason {
#define HF_REASON_ENUM(symbol, key, text) HF_REASON_##symbol,
	HF_REASONS(HF_REASON_ENUM)
#undef HF_REASON_ENUM
		HF_REASON_COUNT
};

#endif
