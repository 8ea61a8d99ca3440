/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/store_redis_script.h"

const char *const redis_key_name[REDIS_KEYS] = {
	[REDIS_KEY_OWNER] = "owner", [REDIS_KEY_EPOCH] = "epoch", [REDIS_KEY_RECORDS] = "records",
	[REDIS_KEY_NODES] = "nodes", [REDIS_KEY_ASK] = "ask",     [REDIS_KEY_WHOLE] = "whole",
};

/* Redis refuses a script's first write when its memory is full, unless that write needs none; then
 * it lets the rest of the script through, to keep it atomic (redis.io, EVAL). A full Redis must not
 * end a lease. Records are another matter: in REDIS_WRITE the puts come first, and are refused as
 * one. */
#define ALTHOUGH_FULL "redis.call('HDEL', KEYS[4], '') "

#define HISTORY                                                                                    \
	"if string.match(redis.call('INFO', 'replication'), 'master_replid:(%x*)') "               \
	"		~= ARGV[#ARGV] then "                                                                   \
	"	return redis.error_reply('HISTORY is another one') "                                     \
	"end "

/* After the owner's key was written. */
#define WHOLE(epoch, run)                                                                          \
	"local run = " run " "                                                                     \
	"if run ~= '' then redis.call('SET', KEYS[6], " epoch " .. ' ' .. run) "                   \
	"else redis.call('DEL', KEYS[6]) end "

/* now: the owner's key as it is; mine: it is ours, in that very epoch */
#define CHECK(node, epoch)                                                                         \
	"local now = redis.call('GET', KEYS[1]) or '' "                                            \
	"local e, b, n = string.match(now, '^(%d+) (%d+) %d+ (.*)$') "                             \
	"local mine = e == " epoch " and n == " node " "

/* ... and this is not what a connection that we have left since still carried: the next one began
 * with a newer beat. As text: Lua's numbers are too short. */
#define CHECK_BEAT(beat) "mine = mine and (#b < #" beat " or (#b == #" beat " and b <= " beat ")) "

/* clang-format off */
const char *const redis_script_text[REDIS_SCRIPTS] = {
	/* Writes that it is there, so that a Redis that takes no writes shows before a takeover;
	 * and the epoch, which a Redis that lost it has to know again before anybody may claim: an
	 * owner of before must not take itself for the last one. */
	[REDIS_LOOK] =
		HISTORY
		ALTHOUGH_FULL
		"redis.call('HSET', KEYS[4], ARGV[1], ARGV[2]) "
		"local highest = redis.call('GET', KEYS[2]) or '0' "
		"if tonumber(highest) < tonumber(ARGV[3]) then "
		"	highest = ARGV[3] "
		"	redis.call('SET', KEYS[2], highest) "
		"end "
		"return {redis.call('GET', KEYS[1]) or '', highest, "
		"	redis.call('GET', KEYS[6]) or ''}",

	[REDIS_CLAIM] =
		HISTORY
		"local now = redis.call('GET', KEYS[1]) or '' "
		"if now ~= ARGV[5] then return {0, now} end "
		ALTHOUGH_FULL
		"redis.call('DEL', KEYS[5]) "
		"redis.call('HDEL', KEYS[4], ARGV[1]) "
		"local epoch = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), "
		"	tonumber(ARGV[4]), tonumber(string.match(now, '^%d+') or 0)) + 1 "
		"local mine = string.format('%d %s %s %s', epoch, ARGV[2], ARGV[3], ARGV[1]) "
		"redis.call('SET', KEYS[2], string.format('%d', epoch)) "
		"redis.call('SET', KEYS[1], mine) "
		WHOLE("string.format('%d', epoch)", "ARGV[6]")
		"return {1, mine}",

	/* The key is gone, no epoch is higher than ours and our lease lasts: Redis has lost what it
	 * held, and nobody can have claimed since, because a claimant waits for a whole lease when
	 * it finds no key. */
	[REDIS_RENEW] =
		HISTORY
		CHECK("ARGV[1]", "ARGV[4]")
		CHECK_BEAT("ARGV[2]")
		"local highest = tonumber(redis.call('GET', KEYS[2]) or 0) "
		"local lost = now == '' and ARGV[5] == '1' and highest <= tonumber(ARGV[4]) "
		"if not mine and not lost then return {0, now} end "
		ALTHOUGH_FULL
		"redis.call('SET', KEYS[1], "
		"	ARGV[4] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[1]) "
		"if highest < tonumber(ARGV[4]) then redis.call('SET', KEYS[2], ARGV[4]) end "
		WHOLE("ARGV[4]", "not lost and ARGV[6] or ''")
		"local ask = redis.call('GET', KEYS[5]) or '' "
		"if ask ~= '' then redis.call('DEL', KEYS[5]) end "
		"return {1, lost and 1 or 0, redis.call('HLEN', KEYS[3]), ask, "
		"	redis.call('HGETALL', KEYS[4])}",

	[REDIS_WRITE] =
		HISTORY
		CHECK("ARGV[1]", "ARGV[2]")
		CHECK_BEAT("ARGV[3]")
		"if not mine then return {0, now} end "
		"local puts = tonumber(ARGV[4]) "
		"for i = 5, 3 + 2 * puts, 2 do "
		"	redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) "
		"end "
		"for i = 5 + 2 * puts, #ARGV - 1 do redis.call('HDEL', KEYS[3], ARGV[i]) end "
		"return {1, now}",

	[REDIS_HAND] =
		HISTORY
		CHECK("ARGV[1]", "ARGV[2]")
		"if not mine then return {0, now} end "
		ALTHOUGH_FULL
		"local epoch = string.format('%d', tonumber(ARGV[2]) + 1) "
		"redis.call('SET', KEYS[2], epoch) "
		"redis.call('SET', KEYS[1], epoch .. ' 0 ' .. ARGV[3] .. ' ' .. ARGV[4]) "
		WHOLE("epoch", "ARGV[5]")
		"return {1, now}",

	[REDIS_ASK] =
		HISTORY
		ALTHOUGH_FULL
		"redis.call('SET', KEYS[5], ARGV[1]) "
		"return {1}",
};
/* clang-format on */
