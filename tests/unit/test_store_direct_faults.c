/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The store between the nodes themselves when something fails: a node dies, the network parts,
 * somebody speaks who has no right to, or nobody takes what is said.
 */
#include "tests/unit/direct_world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>

#include "control/takeover/store_private.h"

static void t6_crash_of_the_owner(void **state)
{
	struct group *w = *state;
	uint64_t died;
	uint32_t epoch;

	w->count = 2;
	direct_child_start(w, 0);
	direct_open(w, 1);
	WAIT(w, direct_child_said(w));
	assert_true(direct_is(w, 1, STORE_STANDBY));
	epoch = direct_status(w, 1)->epoch;
	assert_int_equal(store_claim(w->node[1].store), -EAGAIN);
	died = clock_boot_ns();
	direct_child_crash(w);
	WAIT(w, direct_is(w, 1, STORE_VACANT));
	/* the last grant was at most a heartbeat old, and some ms */
	assert_true(clock_boot_ns() - died > (LEASE_MS - 2 * BEAT_MS) * 1000000ull);
	print_message("info: vacant %llu ms after the crash, lease %u ms\n",
		      (unsigned long long)(clock_boot_ns() - died) / 1000000, LEASE_MS);
	assert_int_equal(store_claim(w->node[1].store), 0);
	WAIT(w, direct_is(w, 1, STORE_OWNER));
	assert_true(direct_status(w, 1)->epoch > epoch);
	assert_int_equal(direct_held(w, 1, RECORDS).count, RECORDS);
	assert_int_equal(direct_held(w, 1, RECORDS).commit, RECORDS * 10);
	assert_int_equal(w->node[1].lease_until, UINT64_MAX); /* nobody else could */
	direct_commit(w, 1, 1000, 1);
	/* it comes back, and is standby only after the full copy */
	direct_open(w, 0);
	WAIT(w, direct_whole(w, 1));
	assert_int_equal(direct_held(w, 0, 1000).count, RECORDS + 1);
	assert_true(w->node[1].lease_until != UINT64_MAX);
}

static void t7_owner_stops_when_its_standby_is_gone(void **state)
{
	struct group *w = *state;
	struct record r = direct_record(1, 1);
	uint64_t ticket;

	w->count = 2;
	direct_child_start(w, 1);
	direct_open(w, 0);
	WAIT(w, direct_is(w, 0, STORE_VACANT) || direct_is(w, 0, STORE_STANDBY));
	store_claim(w->node[0].store); /* or the child was quicker: then it has it */
	WAIT(w, direct_is(w, 0, STORE_OWNER) || direct_is(w, 0, STORE_STANDBY));
	if (direct_is(w, 0, STORE_STANDBY)) {
		WAIT(w, direct_status(w, 0)->synced && direct_child_said(w));
		assert_int_equal(store_ask(w->node[0].store), 0);
		direct_child_crash(w);
		WAIT(w, direct_is(w, 0, STORE_VACANT));
		return; /* the other way round is another test */
	}
	WAIT(w, direct_child_said(w));
	WAIT(w, direct_whole(w, 0));
	direct_child_crash(w);
	direct_put(w, 0, 1, 1);
	WAIT(w, !direct_is(w, 0, STORE_OWNER));
	assert_int_equal(w->node[0].committed, 0);
	assert_int_equal(store_put(w->node[0].store, &r, &ticket), -EPERM);
	assert_true(direct_is(w, 0, STORE_AWAY));
	/* a new standby, without memory: it cannot own, so we may */
	direct_open(w, 1);
	WAIT(w, direct_is(w, 0, STORE_VACANT));
	assert_int_equal(store_claim(w->node[0].store), 0);
	WAIT(w, direct_whole(w, 0));
	direct_commit(w, 0, 2, 2);
}

static void partition_never_makes_two_owners(void **state)
{
	struct group *w = *state;
	uint64_t ticket;
	int leases;

	w->count = 2;
	direct_relay_open(w);
	direct_begin(w, 2);
	direct_commit(w, 0, 1, 1);
	direct_relay_stop(w, true);
	ticket = direct_put(w, 0, 1, 2);
	WAIT(w, !direct_is(w, 0, STORE_OWNER));
	leases = w->node[0].leases;
	assert_true(w->node[0].committed < ticket); /* nobody else has it */
	WAIT(w, direct_is(w, 1, STORE_VACANT));
	assert_int_equal(store_claim(w->node[1].store), 0);
	WAIT(w, direct_is(w, 1, STORE_OWNER));
	direct_commit(w, 1, 1, 3);
	assert_int_equal(w->node[0].leases, leases);
	assert_false(direct_is(w, 0, STORE_OWNER));
	store_claim(
		w->node[0].store); /* whatever it says, until it finds out that nobody answers */
	direct_commit(w, 1, 1, 3);
	assert_false(direct_is(w, 0, STORE_OWNER));
	direct_relay_stop(w, false);
	WAIT(w, direct_whole(w, 1));
	assert_int_equal(direct_held(w, 0, 1).commit, 3);
}

static void three_nodes_crash_of_the_owner(void **state)
{
	struct group *w = *state;

	w->count = 3;
	direct_child_start(w, 0);
	direct_open(w, 1);
	direct_open(w, 2);
	WAIT(w, direct_child_said(w));
	WAIT(w, direct_status(w, 1)->synced && direct_status(w, 2)->synced);
	direct_child_crash(w);
	WAIT(w, direct_is(w, 1, STORE_VACANT) && direct_is(w, 2, STORE_VACANT));
	assert_int_equal(store_claim(w->node[2].store), 0);
	assert_int_equal(store_claim(w->node[1].store), 0);
	WAIT(w, direct_whole(w, 1) || direct_whole(w, 2));
	assert_int_equal(direct_held(w, 1, RECORDS).count, RECORDS);
	assert_int_equal(direct_held(w, 2, RECORDS).count, RECORDS);
	direct_commit(w, direct_is(w, 1, STORE_OWNER) ? 1 : 2, 1000, 1);
}

/* Of three: it has put what nobody else has, lost its lease, and is voted for again. Were it to die
 * now, the other two would be a majority without that record. */
static void t7_three_nodes_owner_again_is_held_when_another_has_its_records(void **state)
{
	struct group *w = *state;
	uint64_t ticket;

	direct_relay_open(w);
	direct_begin(w, 3);
	assert_true(direct_status(w, 0)->held); /* there was nothing to be held */
	direct_commit(w, 0, 1, 1);
	WAIT(w, direct_whole(w, 0));
	direct_close(w, 2);
	direct_relay_stop(w, true);
	ticket = direct_put(w, 0, 1, 2);
	WAIT(w, !direct_is(w, 0, STORE_OWNER));
	assert_true(w->node[0].committed < ticket);
	assert_false(direct_status(w, 0)->held);
	direct_relay_stop(w, false);
	/* a claim that meets b's promise to the former lease is given up */
	WAIT(w, (store_claim(w->node[0].store), direct_is(w, 0, STORE_OWNER)));
	assert_false(direct_status(w, 0)->held);
	assert_int_equal(direct_held(w, 0, 1).commit, 2);
	WAIT(w, direct_status(w, 0)->held);
	assert_int_equal(direct_held(w, 1, 1).commit, 2);
	WAIT(w, store_hand(w->node[0].store, "b") == 0);
	WAIT(w, direct_is(w, 1, STORE_OWNER));
	assert_true(direct_status(w, 1)->held); /* the giver has it all */
}

static void another_key_is_refused(void **state)
{
	static const uint8_t other_key[KEY_LEN] = {9};
	struct group *w = *state;
	struct store_config c;

	w->count = 2;
	c = direct_config(w, 0);
	c.key = other_key;
	direct_open_with(w, 0, &c);
	direct_open(w, 1);
	WAIT(w, direct_status(w, 1)->refused >= 2);
	WAIT(w, strstr(direct_status(w, 0)->why, "keys differ") != NULL);
	assert_true(direct_is(w, 0, STORE_AWAY) && direct_is(w, 1, STORE_AWAY));
}

static void another_group_or_lease_is_refused(void **state)
{
	struct group *w = *state;
	struct store_config c;

	w->count = 2;
	c = direct_config(w, 0);
	c.group = "other";
	direct_open_with(w, 0, &c);
	direct_open(w, 1);
	WAIT(w, direct_status(w, 1)->refused >= 1);
	direct_close(w, 0);
	c.group = "g";
	c.lease_ms *= 2;
	direct_open_with(w, 0, &c);
	WAIT(w, direct_status(w, 1)->refused >= 3);
	assert_true(direct_is(w, 1, STORE_AWAY));
}

static void another_version_is_refused_and_hears_nothing(void **state)
{
	struct group *w = *state;
	struct frame f = {.type = FRAME_HELLO};
	uint8_t bytes[FRAME_FIXED_MAX];
	struct speaker s;
	size_t len;

	w->count = 2;
	direct_open(w, 1);
	direct_voice_open(w, &s, 1, "a", direct_key);
	assert_true(s.shaken);
	snprintf(f.hello.group, HF_NAME_LEN, "g");
	snprintf(f.hello.node, HF_NAME_LEN, "a");
	len = frame_create(&f, bytes);
	bytes[FRAME_HEADER_LEN + 5]++; /* the version */
	bufferevent_write(s.bev, bytes, len);
	WAIT(w, s.closed);
	assert_int_equal(evbuffer_get_length(s.heard), 0);
	assert_int_equal(direct_status(w, 1)->refused, 1);
	speaker_close(&s);
}

static void garbage_changes_nothing(void **state)
{
	struct group *w = *state;
	static const uint8_t wrong[KEY_LEN] = {5};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(PORT),
				 .sin_addr.s_addr = htonl(0x0a090002)};
	uint64_t refused;
	struct speaker s;

	direct_begin(w, 2);
	refused = direct_status(w, 1)->refused;
	for (int i = 0; i < 2 * 16; i++) { /* more than may be guests at once */
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
		WAIT(w, direct_status(w, 1)->refused > refused + (uint64_t)i);
		close(fd);
	}
	direct_voice_open(w, &s, 1, "a", wrong); /* the right name */
	assert_false(s.shaken);
	speaker_close(&s);
	direct_voice_open(w, &s, 1, "nobody", direct_key);
	assert_false(s.shaken);
	speaker_close(&s);
	direct_commit(w, 0, 1, 1);
	assert_true(direct_whole(w, 0));
}

/* Takes a's place at b, by another hand. */
static void pose_as_a(struct group *w, struct speaker *s, struct frame *ret_hello)
{
	struct frame f = {.type = FRAME_HELLO};
	static const char members[5][HF_NAME_LEN] = {"a", "b"};
	uint8_t sum[EVP_MAX_MD_SIZE];

	EVP_Digest(members, sizeof(members), sum, NULL, EVP_sha256(), NULL);
	memcpy(f.hello.members, sum, FRAME_DIGEST_LEN);
	snprintf(f.hello.group, HF_NAME_LEN, "g");
	snprintf(f.hello.node, HF_NAME_LEN, "a");
	f.hello.lease_ms = w->lease_ms;
	direct_voice_open(w, s, 1, "a", direct_key);
	assert_true(s->shaken);
	direct_voice_say(s, &f);
	WAIT(w, direct_voice_hears(s, FRAME_HELLO, ret_hello));
}

static void t7_an_older_epoch_is_refused(void **state)
{
	struct group *w = *state;
	struct frame f, got;
	struct speaker s;

	w->count = 2;
	direct_open(w, 1);
	pose_as_a(w, &s, &got);
	assert_string_equal(got.hello.node, "b");
	for (uint32_t epoch = 2; epoch <= 4; epoch += 2) { /* of two nodes a's are even */
		f = (struct frame){.type = FRAME_LEASE,
				   .lease = {.event = LEASE_SERVES,
					     .epoch = epoch,
					     .flags = LEASE_IS_OWNER | LEASE_IS_SOLE}};
		direct_voice_say(&s, &f);
		f = (struct frame){.type = FRAME_BEGIN, .epoch = epoch};
		direct_voice_say(&s, &f);
		f.type = FRAME_END;
		direct_voice_say(&s, &f);
		WAIT(w, direct_voice_hears(&s, FRAME_ACK, &got));
		assert_int_equal(got.epoch, epoch);
	}
	f = (struct frame){.type = FRAME_PUT, .epoch = 2, .seq = 1};
	direct_voice_say(&s, &f);
	do
		WAIT(w, direct_voice_hears(&s, FRAME_LEASE, &got));
	while (got.lease.event != LEASE_REFUSE);
	assert_int_equal(got.lease.epoch, 4);
	/* of the present one it is taken; out of turn it is not */
	f.epoch = 4;
	direct_voice_say(&s, &f);
	WAIT(w, direct_voice_hears(&s, FRAME_ACK, &got));
	f.seq = 3;
	direct_voice_say(&s, &f);
	WAIT(w, s.closed);
	speaker_close(&s);
}

static void t7_what_waits_is_bounded(void **state)
{
	static uint8_t data[HF_DATA_MAX];
	struct group *w = *state;
	struct record r = {.node = "a", .proto = IPPROTO_TCP};
	uint64_t ticket;
	int rc = 0;

	w->count = 2;
	w->lease_ms = 20000;
	direct_relay_open(w);
	direct_begin(w, 2);
	for (uint32_t p = 1; p <= HF_PROTOCOLS_MAX; p++)
		assert_int_equal(record_set_protocol(&r, p, NULL, 0, 0, data, sizeof(data)), 0);
	direct_relay_stop(w, true);
	for (r.id = 1; rc == 0 && r.id < 10000; r.id++)
		rc = store_put(w->node[0].store, &r, &ticket);
	assert_int_equal(rc, -ENOBUFS);
	assert_true(r.id > STORE_QUEUE_MAX / 40000);
	r.id = 1; /* no more than before */
	assert_int_equal(store_put(w->node[0].store, &r, &ticket), 0);
	record_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(t6_crash_of_the_owner),
		TEST(t7_owner_stops_when_its_standby_is_gone),
		TEST(partition_never_makes_two_owners),
		TEST(three_nodes_crash_of_the_owner),
		TEST(t7_three_nodes_owner_again_is_held_when_another_has_its_records),
		TEST(another_key_is_refused),
		TEST(another_group_or_lease_is_refused),
		TEST(another_version_is_refused_and_hears_nothing),
		TEST(garbage_changes_nothing),
		TEST(t7_an_older_epoch_is_refused),
		TEST(t7_what_waits_is_bounded),
	};

	return cmocka_run_group_tests(tests, direct_network, NULL);
}
