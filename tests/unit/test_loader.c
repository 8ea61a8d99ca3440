/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The parts of the loader that need no kernel; tests/net/loader.sh has the others. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader/private.h"

static void place_has_versioned_folders(void **state)
{
	struct loader_error err = {0};
	struct place p;

	(void)state;
	assert_int_equal(place_set(&p, "one", NULL, 1, &err), 0);
	assert_string_equal(p.base, "/sys/fs/bpf/holdfast/v1/one");
	assert_string_equal(p.maps, "/sys/fs/bpf/holdfast/v1/one/maps");
	assert_string_equal(p.progs, "/sys/fs/bpf/holdfast/v1/one/progs");
	assert_string_equal(p.links, "/sys/fs/bpf/holdfast/v1/one/links");
	assert_int_equal(place_set(&p, "a-b_2", "/sys/fs/bpf/x//", 12, &err), 0);
	assert_string_equal(p.base, "/sys/fs/bpf/x/v12/a-b_2");
}

static void place_refuses_names(void **state)
{
	static const char *const names[] = {"",         ".",   "..",
					    "a.b",      "a/b", "a b",
					    "\xc3\xa4", NULL,  "a2345678901234567890123456789012"};
	static const char *const roots[] = {"sys/fs/bpf", "", "/sys/fs/bpf/../x"};
	struct place p, before;

	(void)state;
	memset(&p, 0x5a, sizeof(p));
	before = p;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct loader_error err = {0};

		assert_int_equal(place_set(&p, names[i], NULL, 1, &err), -EINVAL);
		assert_non_null(strstr(err.text, "not usable"));
	}
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		assert_int_equal(place_set(&p, "one", roots[i], 1, NULL), -EINVAL);
	assert_memory_equal(&p, &before, sizeof(p));
	assert_int_equal(place_set(&p, "a234567890123456789012345678901", NULL, 1, NULL), 0);
}

/* links/ of a place in an ordinary folder: names are all that counts. */
static void record_names_go_both_ways(void **state)
{
	static const struct record all[] = {
		{PROG_TC_NIC_INGRESS, 4026531840u, 1, RECORD_FOUND, false, ""},
		{PROG_TC_TUN_EGRESS, 4026531840u, 4294967295u, RECORD_MADE, false, ""},
		{PROG_TC_TUN_INGRESS, 1, 2, RECORD_MADE, true, ""},
		{PROG_XDP_NIC, 3, 4, RECORD_NATIVE, false, ""},
		{PROG_XDP_NIC, 3, 4, RECORD_GENERIC, true, ""},
	};
	static const char *const strange[] = {
		"tc_nic_ingress-1-2-native", "xdp_nic-1-2-made",
		"xdp_nic-1-native",          "other-1-2-made",
		"tc_nic_ingress-1-2-",       "tc_nic_ingress-1-2-made-old",
	};
	const size_t n = sizeof(all) / sizeof(all[0]);
	char folder[] = "/tmp/test_loader_XXXXXX";
	struct record *list;
	struct place p = {0};
	char path[512];
	int fd, found;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(p.links, sizeof(p.links), "%s", folder);
	for (size_t i = 0; i < n; i++) {
		record_path(&p, &all[i], all[i].fresh, path, sizeof(path));
		assert_true((fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600)) >= 0);
		close(fd);
	}
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, strange[i]);
		assert_true((fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600)) >= 0);
		close(fd);
	}
	found = record_list(&p, &list);
	assert_int_equal(found, n);
	for (int i = 0; i < found; i++) {
		size_t k;

		for (k = 0; k < n; k++)
			if (list[i].prog == all[k].prog && list[i].netns == all[k].netns &&
			    list[i].ifindex == all[k].ifindex && list[i].flag == all[k].flag &&
			    list[i].fresh == all[k].fresh)
				break;
		assert_true(k < n);
		record_path(&p, &list[i], list[i].fresh, path, sizeof(path));
		assert_string_equal(path, list[i].path);
	}
	free(list);
	pin_clear(folder);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(record_list(&p, &list), 0);
}

static void every_map_and_mode_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < LOADER_MAP_COUNT; i++)
		assert_non_null(loader_map_name(i));
	assert_null(loader_map_name(LOADER_MAP_COUNT));
	for (int i = 0; i < PROG_COUNT; i++)
		assert_non_null(object_prog_name(i));
	assert_string_equal(loader_map_name(LOADER_SERVICE_TABLE), "service_table");
	assert_string_equal(loader_mode_name(LOADER_MODE_GENERIC), "generic");
	assert_null(loader_mode_name(LOADER_MODE_GENERIC + 1));
}

static void errors_are_cut_not_overrun(void **state)
{
	struct loader_error err;
	char text[1024];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(error_set(&err, -EIO, "%s", text), -EIO);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(error_set(NULL, -EIO, "%s", text), -EIO);
	loader_close(NULL);
	assert_int_equal(loader_remove(NULL, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(place_has_versioned_folders),
		cmocka_unit_test(place_refuses_names),
		cmocka_unit_test(record_names_go_both_ways),
		cmocka_unit_test(every_map_and_mode_has_a_name),
		cmocka_unit_test(errors_are_cut_not_overrun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
