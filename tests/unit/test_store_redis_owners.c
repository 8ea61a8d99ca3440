/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Never two owners, and nothing that was committed is ever missing: three nodes, each a process
 * with a proxy before Redis; one of them, or Redis, is stopped, cut off, killed, or asked to hand
 * over, by chance. Redis keeps what it has said it wrote (appendfsync always).
 *
 *   node a ── proxy ──┐
 *   node b ── proxy ──┼── Redis
 *   node c ── proxy ──┘
 *
 * ROUNDS=N, SEED=N in the environment.
 */
#include "tests/unit/redis_world.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES       3
#define PROXY_PORT  7100
#define SHORT_LEASE 100

static const char *const names[NODES] = {"a", "b", "c"};

/* What all processes see. */
static struct shared {
	_Atomic uint64_t until[NODES]; /* CLOCK_BOOTTIME; in the past or 0: not the owner */
	_Atomic uint64_t committed;    /* the highest number that a "client" was told */
	_Atomic uint64_t loaded;       /* what the newest owner found */
	_Atomic uint32_t epoch;
	_Atomic uint32_t ownerships, commits, handed;
	atomic_flag taken;
	_Atomic bool violated;
	char violation[160];
} * shared;

__attribute__((format(printf, 1, 2))) static void violate(const char *format, ...)
{
	va_list args;

	if (atomic_flag_test_and_set(&shared->taken))
		return;
	va_start(args, format);
	vsnprintf(shared->violation, sizeof(shared->violation), format, args);
	va_end(args);
	shared->violated = true;
}

/* ---- a node ---- */

struct actor {
	int index;
	struct event_base *base;
	struct store *store;
	struct store_config config;
	uint32_t epoch;               /* 0: not the owner */
	uint64_t number, ticket, put; /* the last number, and the one under way */
};

static void publish(struct actor *a, uint64_t until)
{
	uint64_t now;

	shared->until[a->index] = until;
	now = redis_world_now_ns();
	for (int i = 0; i < NODES && until > now; i++)
		if (i != a->index && shared->until[i] > now)
			violate("%s and %s own it at one time", names[a->index], names[i]);
}

static void put_next(struct actor *a)
{
	struct record r = redis_world_record(1, ++a->number);

	a->put = store_put(a->store, &r, &a->ticket) == 0 ? a->number : 0;
}

static bool find_number(void *arg, const struct record *r)
{
	struct actor *a = arg;

	if (r->id == 1)
		a->number = r->in_commit;
	return true;
}

static void begin(struct actor *a, const struct store_status *s)
{
	a->epoch = s->epoch;
	a->number = 0;
	store_each(a->store, find_number, a);
	if (a->epoch <= shared->epoch)
		violate("epoch %u after %u", a->epoch, shared->epoch);
	if (a->number < shared->committed)
		violate("%s found %llu, but %llu was committed", names[a->index],
			(unsigned long long)a->number, (unsigned long long)shared->committed);
	shared->loaded = a->number;
	shared->epoch = a->epoch;
	shared->ownerships++;
	publish(a, s->lease_until_ns);
	put_next(a);
}

static void on_changed(void *arg, const struct store_status *s)
{
	struct actor *a = arg;

	if (s->state == STORE_OWNER && a->epoch != s->epoch) {
		begin(a, s);
	} else if (s->state != STORE_OWNER && a->epoch) {
		publish(a, 0);
		a->epoch = 0;
	}
	if (s->state == STORE_VACANT)
		store_claim(a->store);
}

static void on_lease(void *arg, uint64_t until_ns)
{
	publish(arg, until_ns);
}

static void on_committed(void *arg, uint64_t ticket)
{
	struct actor *a = arg;
	uint64_t before = shared->committed;

	if (!a->put || ticket < a->ticket)
		return;
	/* It may have been stopped before it could say so. */
	if (a->epoch < shared->epoch && a->put > shared->loaded)
		violate("%s tells that %llu is committed, a later owner found %llu",
			names[a->index], (unsigned long long)a->put,
			(unsigned long long)shared->loaded);
	while (before < a->put &&
	       !atomic_compare_exchange_weak(&shared->committed, &before, a->put))
		;
	shared->commits++;
	put_next(a);
}

static void actor_open(struct actor *a)
{
	static const struct store_ops ops = {
		.changed = on_changed, .lease = on_lease, .committed = on_committed};
	char err[160];

	if (store_redis_open(a->base, &a->config, &ops, a, &a->store, err, sizeof(err)))
		violate("%s", err);
}

static void on_hand(evutil_socket_t fd, short what, void *arg)
{
	struct actor *a = arg;

	(void)fd;
	(void)what;
	for (int i = 1; a->epoch && i < NODES; i++)
		if (store_hand(a->store, names[(a->index + i) % NODES]) == 0) {
			shared->handed++;
			break;
		}
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
	struct actor *a = arg;

	(void)fd;
	(void)what;
	if (a->epoch)
		publish(a, 0);
	a->epoch = 0;
	store_close(a->store);
	actor_open(a);
}

static void actor_run(int index)
{
	struct actor a = {.index = index,
			  .config = redis_world_config(names[index], PROXY_PORT + index)};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	a.base = event_base_new();
	a.config.lease_ms = SHORT_LEASE;
	a.config.heartbeat_ms = SHORT_LEASE / 5;
	event_add(evsignal_new(a.base, SIGUSR1, on_hand, &a), NULL);
	event_add(evsignal_new(a.base, SIGUSR2, on_restart, &a), NULL);
	actor_open(&a);
	event_base_dispatch(a.base);
	violate("%s has nothing to do", names[index]);
	_exit(0);
}

/* ---- who makes the trouble ---- */

struct stage {
	struct event_base *base;
	struct event *alarm;
	struct server redis;
	struct proxy *proxies[NODES];
	pid_t pids[NODES];
	uint32_t random;
	bool node_stopped[NODES];
	bool redis_stopped;
};

static uint32_t dice(struct stage *s, uint32_t sides)
{
	s->random = s->random * 1664525u + 1013904223u;
	return (s->random >> 8) % sides;
}

static void actor_start(struct stage *s, int i)
{
	s->pids[i] = fork();
	assert_true(s->pids[i] >= 0);
	if (s->pids[i] == 0)
		actor_run(i);
}

static void actor_kill(struct stage *s, int i)
{
	kill(s->pids[i], SIGKILL);
	waitpid(s->pids[i], NULL, 0);
	s->node_stopped[i] = false;
	shared->until[i] =
		0; /* the guard of a machine that lives goes on; of a dead one it does not */
}

static void pass_ms(struct stage *s, uint32_t ms)
{
	uint64_t end = redis_world_now_ns() + ms * 1000000ull;

	while (redis_world_now_ns() < end)
		event_base_loop(s->base, EVLOOP_ONCE);
}

static void heal(struct stage *s)
{
	for (int i = 0; i < NODES; i++) {
		redis_proxy_hold(s->proxies[i], false);
		redis_proxy_hold_answers(s->proxies[i], false);
		if (s->node_stopped[i])
			kill(s->pids[i], SIGCONT);
		s->node_stopped[i] = false;
	}
	if (s->redis_stopped)
		redis_server_signal(&s->redis, SIGCONT);
	s->redis_stopped = false;
}

static void make_trouble(struct stage *s)
{
	int i = dice(s, NODES);

	switch (dice(s, 10)) {
	case 0:
	case 1:
		kill(s->pids[i], SIGSTOP);
		s->node_stopped[i] = true;
		break;
	case 2:
		redis_proxy_hold(s->proxies[i], true);
		break;
	case 3:
		redis_proxy_hold_answers(s->proxies[i], true);
		break;
	case 4:
		redis_proxy_reset(s->proxies[i]);
		break;
	case 5:
		for (int k = 0; k < NODES; k++)
			kill(s->pids[k], SIGUSR1);
		break;
	case 6:
		kill(s->pids[i], SIGUSR2);
		break;
	case 7:
		actor_kill(s, i);
		actor_start(s, i);
		break;
	case 8:
		if (!s->redis_stopped)
			redis_server_signal(&s->redis, SIGSTOP);
		s->redis_stopped = true;
		break;
	default:
		redis_server_kill(&s->redis);
		s->redis_stopped = false;
		pass_ms(s, dice(s, 2 * SHORT_LEASE));
		redis_server_start(&s->redis, REDIS_PORT, REDIS_JOURNAL);
	}
}

static uint32_t from_env(const char *name, uint32_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void t1_t7_never_two_owners_nothing_lost(void **state)
{
	uint32_t rounds = from_env("ROUNDS", 80), seed = from_env("SEED", getpid()), commits;
	struct stage *s = *state;

	s->random = seed;
	for (int i = 0; i < NODES; i++)
		actor_start(s, i);
	WAIT(s, shared->ownerships == 1);
	for (uint32_t n = 0; n < rounds && !shared->violated; n++) {
		make_trouble(s);
		pass_ms(s, dice(s, 2 * SHORT_LEASE));
		if (dice(s, 2))
			heal(s);
	}
	heal(s);
	commits = shared->commits;
	if (!shared->violated)
		WAIT(s, shared->commits > commits + 10 || shared->violated);
	print_message(
		"[   INFO   ] seed %u: %u rounds, %u ownerships, %u handed over, %u commits\n",
		seed, rounds, shared->ownerships, shared->handed, shared->commits);
	if (shared->violated)
		fail_msg("seed %u: %s", seed, shared->violation);
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static int setup(void **state)
{
	const struct timeval often = {.tv_usec = 2000};
	struct stage *s = calloc(1, sizeof(*s));

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	redis_world_folder();
	s->base = event_base_new();
	s->alarm = event_new(s->base, -1, EV_PERSIST, on_alarm, NULL);
	event_add(s->alarm, &often);
	redis_server_start(&s->redis, REDIS_PORT, REDIS_JOURNAL);
	for (int i = 0; i < NODES; i++)
		s->proxies[i] = redis_proxy_new(s->base, PROXY_PORT + i, REDIS_PORT);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;

	for (int i = 0; i < NODES; i++) {
		if (s->pids[i])
			actor_kill(s, i);
		redis_proxy_free(s->proxies[i]);
	}
	redis_server_kill(&s->redis);
	event_free(s->alarm);
	event_base_free(s->base);
	munmap(shared, sizeof(*shared));
	redis_world_clean();
	free(s);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(t1_t7_never_two_owners_nothing_lost, setup,
						teardown),
	};

	if (!redis_world_net()) {
		puts("SKIP store_redis_owners: see above");
		return 77;
	}
	return cmocka_run_group_tests_name("store_redis_owners", tests, NULL, NULL);
}
