/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tests of the data plane by BPF_PROG_TEST_RUN. Prints PASS, FAIL or SKIP lines
 * for tests/run.sh; the exit status is 1 if anything failed.
 */
#include <stdio.h>

#include "tests/bpf/env.h"

/* What a checksum does is not told by the limits or the sweep. */
static bool packets(bool helpers)
{
	struct env *env;

	env_csum_helpers = helpers;
	env = env_open(ENV_FLOWS);
	if (!env)
		return false;
	test_rows(env);
	test_live(env);
	if (!helpers) {
		test_limits(env);
		test_sweep(env);
	}
	env_close(env);
	return true;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return !packets(false) || !packets(true) || env_failed();
}
