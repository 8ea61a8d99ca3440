/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tests of the data plane by BPF_PROG_TEST_RUN. Prints PASS, FAIL or SKIP lines
 * for tests/run.sh; the exit status is 1 if anything failed.
 */
#include <stdio.h>

#include "tests/bpf/env.h"

int main(void)
{
	struct env *env = env_open(ENV_FLOWS);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!env)
		return 1;
	test_rows(env);
	test_limits(env);
	test_sweep(env);
	test_live(env);
	env_close(env);
	return env_failed() != 0;
}
