/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Timers: `retry`, until the next attempt; `watchdog`, whether what is due was answered.
 *
 * A look-up of a name must not block the loop, so evdns does it (/etc/hosts, /etc/resolv.conf).
 */
#include "control/takeover/store_redis_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <openssl/crypto.h>

#include "control/addr.h"
#include "control/clock.h"

#define RETRY_MIN_MS 10

struct redis_link {
	struct event_base *base;
	struct redis_link_ops ops;
	void *arg;
	char *host;
	uint16_t port;
	char *user;
	char *password;
	char *keys[REDIS_KEYS];
	uint32_t silence_ms;
	uint32_t retry_max_ms;
	struct evdns_base *dns; /* NULL: `host` is an address */
	struct evdns_getaddrinfo_request *asking;
	redisAsyncContext *redis; /* NULL: none */
	struct event *retry;
	struct event *watchdog;
	uint32_t retry_ms;
	bool up;
	bool closing;
	uint32_t due;    /* answers */
	uint64_t due_ms; /* since when the oldest of them is */
	char sha[REDIS_SCRIPTS][REDIS_SHA_LEN + 1];
	char run[REDIS_RUN_LEN];
	char history[44]; /* the end of `run` */
	char why[REDIS_WHY_LEN];
};

/* hiredis keeps one pointer for each command. */
struct call {
	struct redis_link *link;
	redis_reply_fn *done; /* NULL: part of the greeting */
	void *of;
};

/* ---- down ---- */

static void link_later(struct redis_link *l, uint32_t ms)
{
	struct timeval t = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	evtimer_add(l->retry, &t);
}

/* `redis` is gone or going. */
static void link_is_down(struct redis_link *l, const char *why)
{
	bool was_up = l->up;

	if (l->closing)
		return;
	l->redis = NULL;
	l->up = false;
	l->due = 0;
	evtimer_del(l->watchdog);
	if (was_up)
		l->retry_ms = RETRY_MIN_MS;
	link_later(l, l->retry_ms);
	l->retry_ms = l->retry_ms * 2 > l->retry_max_ms ? l->retry_max_ms : l->retry_ms * 2;
	if (!was_up && !strcmp(l->why, why))
		return;
	snprintf(l->why, sizeof(l->why), "%s", why);
	l->ops.down(l->arg, l->why);
}

static void link_drop(struct redis_link *l)
{
	redisAsyncContext *redis = l->redis;

	if (!redis)
		return;
	l->redis = NULL;
	redis->data = NULL; /* on_disconnect() is for those that we did not ask for */
	redisAsyncFree(redis);
}

void redis_link_broken(struct redis_link *l, const char *why)
{
	link_drop(l);
	link_is_down(l, why);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	char why[REDIS_WHY_LEN];

	(void)fd;
	(void)what;
	if (l->due == 0 || clock_ms() - l->due_ms < l->silence_ms)
		return;
	snprintf(why, sizeof(why), "Redis at %s port %u does not answer", l->host, l->port);
	redis_link_broken(l, why);
}

/* ---- what Redis refuses ---- */

static const struct {
	const char *word;
	const char *text;
	bool stays; /* the link does */
} refusals[] = {
	{"OOM ", "Redis is full (maxmemory): it takes no more records", true},
	{"MISCONF", "Redis takes no writes: it cannot save to its disk", true},
	{"NOREPLICAS",
	 "Redis takes no writes: too few of its replicas are there "
	 "(min-replicas-to-write)",
	 true},
	{"BUSY ", "Redis is busy with somebody's script", true},
	{"HISTORY ", "Redis has a new history: its first replica came, or it was one itself",
	 false},
	{"NOSCRIPT", "Redis has forgotten our scripts", false},
	{"READONLY", "Redis is a replica: it takes no writes", false},
	{"WAIT cannot be used", "Redis is a replica: it takes no writes", false},
	{"UNBLOCKED", "Redis has become a replica", false},
	{"LOADING", "Redis is still loading its data", false},
	{"MASTERDOWN", "Redis is a replica without a master", false},
	{"WRONGPASS", "Redis refuses the password", false},
	{"invalid password", "Redis refuses the password", false},
	{"AUTH <password> called without", "Redis has no password, but one is configured", false},
	{"NOAUTH", "Redis wants a password", false},
	{"NOPERM", "Redis does not permit this user what the store needs", false},
	{"max number of clients", "Redis has as many clients as it takes", false},
};
#define REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

/* Inside a longer sentence: before Redis 7, an error of a command in a script is. */
static size_t refusal_of(const char *error)
{
	size_t i;

	for (i = 0; i < REFUSALS && !strstr(error, refusals[i].word); i++)
		;
	return i;
}

void redis_error_text(const char *error, char out[static REDIS_WHY_LEN])
{
	size_t i = refusal_of(error);

	if (i < REFUSALS)
		snprintf(out, REDIS_WHY_LEN, "%s", refusals[i].text);
	else
		snprintf(out, REDIS_WHY_LEN, "Redis refuses: %.100s", error);
}

/* ---- calls ---- */

/* Asked for while the greeting lasts: everything is fatal then. */
static void link_greeted(struct redis_link *l, const redisReply *reply, void *of);

static void on_reply(redisAsyncContext *redis, void *data, void *privdata)
{
	const redisReply *reply = data;
	struct call call = *(struct call *)privdata;
	struct redis_link *l = call.link;
	char why[REDIS_WHY_LEN];
	size_t i;

	free(privdata);
	if (!reply || redis->data != l)
		return;
	l->due--;
	l->due_ms = clock_ms();
	if (reply->type == REDIS_REPLY_ERROR) {
		i = refusal_of(reply->str);
		if (!call.done || (i < REFUSALS && !refusals[i].stays)) {
			redis_error_text(reply->str, why);
			redis_link_broken(l, why);
			return;
		}
	}
	if (call.done)
		call.done(l->arg, reply, call.of);
	else
		link_greeted(l, reply, call.of);
}

static int link_send(struct redis_link *l, redis_reply_fn *done, void *of, int argc,
		     const char **argv, const size_t *len)
{
	struct call *call;

	if (!l->redis)
		return -ENOTCONN;
	call = malloc(sizeof(*call));
	if (!call)
		return -ENOMEM;
	*call = (struct call){.link = l, .done = done, .of = of};
	if (redisAsyncCommandArgv(l->redis, on_reply, call, argc, argv, len) != REDIS_OK) {
		free(call);
		return -ENOTCONN;
	}
	if (l->due++ == 0)
		l->due_ms = clock_ms();
	return 0;
}

int redis_link_send(struct redis_link *l, redis_reply_fn *done, void *of, int argc,
		    const char **argv, const size_t *len)
{
	return l->up ? link_send(l, done, of, argc, argv, len) : -ENOTCONN;
}

int redis_link_run(struct redis_link *l, enum redis_script script, redis_reply_fn *done, void *of,
		   int argc, const char **argv, const size_t *len)
{
	size_t all = 3 + REDIS_KEYS + argc + 1;
	const char **words = malloc(all * sizeof(*words));
	size_t *lens = malloc(all * sizeof(*lens));
	char number[8];
	int rc = -ENOMEM;

	if (!words || !lens)
		goto out;
	snprintf(number, sizeof(number), "%d", REDIS_KEYS);
	words[0] = "EVALSHA";
	words[1] = l->sha[script];
	words[2] = number;
	for (int i = 0; i < REDIS_KEYS; i++)
		words[3 + i] = l->keys[i];
	for (int i = 0; i < 3 + REDIS_KEYS; i++)
		lens[i] = strlen(words[i]);
	for (int i = 0; i < argc; i++) {
		words[3 + REDIS_KEYS + i] = argv[i];
		lens[3 + REDIS_KEYS + i] = len ? len[i] : strlen(argv[i]);
	}
	words[all - 1] = l->history;
	lens[all - 1] = strlen(l->history);
	rc = redis_link_send(l, done, of, all, words, lens);
out:
	free(words);
	free(lens);
	return rc;
}

const char *redis_link_key(const struct redis_link *l, enum redis_key key)
{
	return l->keys[key];
}

/* ---- the greeting: AUTH, SCRIPT LOAD of each, INFO ---- */

enum { GREETING_AUTH = REDIS_SCRIPTS, GREETING_INFO };

static void info_field(const char *info, const char *name, char *out, size_t size)
{
	const char *at = strstr(info, name);
	size_t len = 0;

	if (at) {
		at += strlen(name);
		len = strcspn(at, "\r\n");
	}
	snprintf(out, size, "%.*s", (int)len, at ? at : "");
}

static void link_consume_info(struct redis_link *l, const char *info)
{
	char run[44], role[16], max[24], policy[24], why[REDIS_WHY_LEN];

	info_field(info, "\nrun_id:", run, sizeof(run));
	info_field(info, "\nmaster_replid:", l->history, sizeof(l->history));
	info_field(info, "\nrole:", role, sizeof(role));
	info_field(info, "\nmaxmemory:", max, sizeof(max));
	info_field(info, "\nmaxmemory_policy:", policy, sizeof(policy));
	if (strcmp(role, "master")) {
		redis_link_broken(l, "Redis is a replica: it takes no writes");
		return;
	}
	if (strcmp(max, "0") && !strncmp(policy, "allkeys", 7)) {
		snprintf(why, sizeof(why),
			 "Redis may evict records (maxmemory-policy %s): noeviction is needed",
			 policy);
		redis_link_broken(l, why);
		return;
	}
	snprintf(l->run, sizeof(l->run), "%s %s", run, l->history);
	l->up = true;
	l->retry_ms = RETRY_MIN_MS;
	*l->why = 0;
	l->ops.up(l->arg, l->run);
}

static void link_greeted(struct redis_link *l, const redisReply *reply, void *of)
{
	uintptr_t step = (uintptr_t)of;

	if (step < REDIS_SCRIPTS && reply->type == REDIS_REPLY_STRING &&
	    reply->len == REDIS_SHA_LEN)
		memcpy(l->sha[step], reply->str, REDIS_SHA_LEN + 1);
	else if (step == GREETING_INFO && reply->type == REDIS_REPLY_STRING)
		link_consume_info(l, reply->str);
	else if (step != GREETING_AUTH)
		redis_link_broken(l, "what answers is not Redis");
}

static int greet(struct redis_link *l, uintptr_t step, int argc, const char **argv)
{
	return link_send(l, NULL, (void *)step, argc, argv, NULL);
}

static int link_greet(struct redis_link *l)
{
	const char *auth[] = {"AUTH", l->user, l->password};
	const char *info[] = {"INFO"};
	int rc = 0;

	if (l->password && !l->user)
		rc = greet(l, GREETING_AUTH, 2, (const char *[]){"AUTH", l->password});
	else if (l->password)
		rc = greet(l, GREETING_AUTH, 3, auth);
	for (uintptr_t i = 0; rc == 0 && i < REDIS_SCRIPTS; i++)
		rc = greet(l, i, 3, (const char *[]){"SCRIPT", "LOAD", redis_script_text[i]});
	return rc < 0 ? rc : greet(l, GREETING_INFO, 1, info);
}

/* ---- connecting ---- */

static void link_unreachable(struct redis_link *l, const char *error)
{
	char why[REDIS_WHY_LEN];

	snprintf(why, sizeof(why), "Redis at %s port %u cannot be reached: %.60s", l->host, l->port,
		 error && *error ? error : "the connection broke");
	redis_link_broken(l, why);
}

static void on_connect(const redisAsyncContext *redis, int status)
{
	struct redis_link *l = redis->data;

	if (!l || status == REDIS_OK)
		return;
	/* hiredis frees it when we return */
	l->redis = NULL;
	link_unreachable(l, redis->errstr);
}

static void on_disconnect(const redisAsyncContext *redis, int status)
{
	struct redis_link *l = redis->data;

	(void)status;
	if (!l)
		return;
	l->redis = NULL;
	link_unreachable(l,
			 redis->err == REDIS_ERR_EOF ? "it closed the connection" : redis->errstr);
}

static void link_connect(struct redis_link *l, const char *address)
{
	struct timeval period = {.tv_sec = l->silence_ms / 4000,
				 .tv_usec = l->silence_ms / 4 % 1000 * 1000};
	redisAsyncContext *redis = redisAsyncConnect(address, l->port);

	if (!redis || redis->err) {
		link_unreachable(l, redis ? redis->errstr : "no memory");
		if (redis)
			redisAsyncFree(redis);
		return;
	}
	redis->data = l;
	l->redis = redis;
	redisLibeventAttach(redis, l->base);
	redisAsyncSetConnectCallback(redis, on_connect);
	redisAsyncSetDisconnectCallback(redis, on_disconnect);
	l->due = 0;
	event_add(l->watchdog, &period);
	if (link_greet(l) < 0)
		link_unreachable(l, "no memory");
}

static void on_name(int error, struct evutil_addrinfo *list, void *arg)
{
	struct redis_link *l = arg;
	char text[64];

	if (error == EVUTIL_EAI_CANCEL) /* `l` is gone */
		return;
	l->asking = NULL;
	if (error || !list ||
	    getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof(text), NULL, 0,
			NI_NUMERICHOST))
		link_unreachable(l, error ? evutil_gai_strerror(error) : "no address");
	else
		link_connect(l, text);
	if (list)
		evutil_freeaddrinfo(list);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
					      .ai_socktype = SOCK_STREAM,
					      .ai_flags = EVUTIL_AI_ADDRCONFIG};
	struct redis_link *l = arg;
	struct evdns_getaddrinfo_request *asking;

	(void)fd;
	(void)what;
	if (!l->dns) {
		link_connect(l, l->host);
		return;
	}
	asking = evdns_getaddrinfo(l->dns, l->host, NULL, &hints, on_name, l);
	if (asking) /* else on_name() has been called */
		l->asking = asking;
}

static bool is_address(const char *host)
{
	const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
					      .ai_socktype = SOCK_STREAM,
					      .ai_flags = EVUTIL_AI_NUMERICHOST};
	struct evutil_addrinfo *list = NULL;

	if (evutil_getaddrinfo(host, NULL, &hints, &list))
		return false;
	evutil_freeaddrinfo(list);
	return true;
}

/* ---- open, close ---- */

/* "[::1]" as well as "::1" */
static char *bare_host(const char *host)
{
	size_t len = strlen(host);

	if (len > 2 && host[0] == '[' && host[len - 1] == ']')
		return strndup(host + 1, len - 2);
	return strdup(host);
}

static void secret_free(char *s)
{
	if (s)
		OPENSSL_cleanse(s, strlen(s));
	free(s);
}

void redis_link_close(struct redis_link *l)
{
	if (!l)
		return;
	l->closing = true;
	if (l->asking)
		evdns_getaddrinfo_cancel(l->asking);
	if (l->dns)
		evdns_base_free(l->dns, 0);
	if (l->up && l->redis)
		redisAsyncHandleWrite(l->redis);
	link_drop(l);
	if (l->retry)
		event_free(l->retry);
	if (l->watchdog)
		event_free(l->watchdog);
	for (int i = 0; i < REDIS_KEYS; i++)
		free(l->keys[i]);
	free(l->host);
	secret_free(l->user);
	secret_free(l->password);
	free(l);
}

int redis_link_open(struct event_base *base, const struct redis_link_config *config,
		    const struct redis_link_ops *ops, void *arg, struct redis_link **ret)
{
	struct redis_link *l;

	if (!config->host || !*config->host || config->port == 0 || config->silence_ms == 0 ||
	    config->retry_ms == 0)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->base = base;
	l->ops = *ops;
	l->arg = arg;
	l->port = config->port;
	l->silence_ms = config->silence_ms;
	l->retry_max_ms = config->retry_ms;
	l->retry_ms = RETRY_MIN_MS;
	l->host = bare_host(config->host);
	l->user = config->user && *config->user ? strdup(config->user) : NULL;
	l->password = config->password && *config->password ? strdup(config->password) : NULL;
	l->retry = evtimer_new(base, on_retry, l);
	l->watchdog = event_new(base, -1, EV_PERSIST, on_watchdog, l);
	for (int i = 0; i < REDIS_KEYS; i++)
		if (asprintf(&l->keys[i], "holdfast:{%s}:%s", config->group, redis_key_name[i]) < 0)
			l->keys[i] = NULL;
	if (!l->host || !l->retry || !l->watchdog || !l->keys[REDIS_KEYS - 1] ||
	    (config->user && *config->user && !l->user) ||
	    (config->password && *config->password && !l->password))
		goto nomem;
	if (!is_address(l->host)) {
		l->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
		if (!l->dns)
			goto nomem;
		/* without the file: /etc/hosts alone, and the sentence says what was not found */
		evdns_base_resolv_conf_parse(l->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	}
	link_later(l, 0);
	*ret = l;
	return 0;
nomem:
	redis_link_close(l);
	return -ENOMEM;
}
