/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where the pins of one instance live, and the locks on them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "loader/private.h"

#define BPFFS "/sys/fs/bpf"
/* Files of a bpffs cannot be opened, so locks are elsewhere. */
#define LOCK_FOLDER "/run/holdfast"

static int set(struct place *ret, const char *name, const char *root, const char *layout,
	       unsigned int version, const char *head, struct loader_error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-";
	struct place p = {.layout = layout, .version = version, .head = head};
	size_t n = name ? strlen(name) : 0;

	/* A bpffs refuses dots in names. */
	if (n == 0 || n >= sizeof(p.name) || strspn(name, allowed) != n)
		return error_set(err, -EINVAL,
				 "instance name \"%s\" is not usable: it must have 1 to %zu "
				 "letters, digits, '-' or '_'",
				 name ? name : "", sizeof(p.name) - 1);
	if (!root)
		root = LOADER_PIN_ROOT;
	n = strlen(root);
	while (n > 1 && root[n - 1] == '/')
		n--;
	if (root[0] != '/' || n >= sizeof(p.root) || strstr(root, ".."))
		return error_set(err, -EINVAL,
				 "pin root \"%s\" is not usable: it must be an absolute path of "
				 "less than %zu bytes",
				 root, sizeof(p.root));
	memcpy(p.root, root, n);
	memcpy(p.name, name, strlen(name));
	snprintf(p.base, sizeof(p.base), "%s/%s%u/%s", p.root, layout, version, p.name);
	snprintf(p.maps, sizeof(p.maps), "%s/maps", p.base);
	snprintf(p.progs, sizeof(p.progs), "%s/progs", p.base);
	snprintf(p.links, sizeof(p.links), "%s/links", p.base);
	*ret = p;
	return 0;
}

int place_set(struct place *ret, const char *name, const char *root, unsigned int version,
	      struct loader_error *err)
{
	return set(ret, name, root, "v", version, "meta", err);
}

int place_set_guard(struct place *ret, const char *name, const char *root, unsigned int version,
		    struct loader_error *err)
{
	return set(ret, name, root, "guard-v", version, "guard_conf", err);
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* A second mount on top would hide every pin, so what is asked is the mount point itself. */
static int mount_bpffs(const struct place *p, struct loader_error *err)
{
	char path[sizeof(p->root)];
	bool usual = strncmp(p->root, BPFFS "/", sizeof(BPFFS)) == 0;
	char *slash;

	/* The pin root need not exist yet; what matters is where it will be. */
	strcpy(path, usual ? BPFFS : p->root);
	while (access(path, F_OK) != 0 && (slash = strrchr(path, '/')) && slash != path)
		*slash = '\0';
	if (is_bpffs(path))
		return 0;
	if (!usual)
		return error_set(err, -EINVAL,
				 "pin root %s is not on a bpffs: mount one there, or leave the "
				 "default " LOADER_PIN_ROOT,
				 p->root);
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME,
		  "mode=700") == 0)
		return 0;
	switch (errno) {
	case EPERM:
	case EACCES:
		return error_set(err, -EPERM,
				 "cannot mount a bpffs at " BPFFS ": needs CAP_SYS_ADMIN; run as "
				 "root, or mount it at boot");
	case ENODEV:
	case ENOENT:
		return error_set(err, -ENOTSUP,
				 "cannot mount a bpffs at " BPFFS ": this kernel was built without "
				 "CONFIG_BPF_SYSCALL, or /sys is not mounted");
	default:
		return error_set(err, -errno, "cannot mount a bpffs at " BPFFS ": %s",
				 strerror(errno));
	}
}

static int make_folder(const char *path, struct loader_error *err)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return error_set(err, errno == EACCES ? -EPERM : -errno, "cannot make the folder %s: %s",
			 path, strerror(errno));
}

int lock_shared(void)
{
	int fd;

	if (mkdir(LOCK_FOLDER, 0755) < 0 && errno != EEXIST)
		return -1;
	fd = open(LOCK_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd >= 0 && flock(fd, LOCK_EX) < 0 && errno == EINTR)
		;
	return fd;
}

void unlock_shared(int fd)
{
	if (fd >= 0)
		close(fd);
}

static int make_all(const struct place *p, struct loader_error *err)
{
	char path[sizeof(p->base)];
	char *slash;
	int ret;

	ret = mount_bpffs(p, err);
	if (ret < 0)
		return ret;
	strcpy(path, p->base);
	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		ret = make_folder(path, err);
		if (ret < 0)
			return ret;
		*slash = '/';
	}
	ret = make_folder(p->base, err);
	if (ret == 0)
		ret = make_folder(p->maps, err);
	if (ret == 0)
		ret = make_folder(p->progs, err);
	if (ret == 0)
		ret = make_folder(p->links, err);
	return ret;
}

/* Folders that instances share are made and taken away by one at a time: else the one would be gone
 * before the other has put anything into it. */
int place_make(const struct place *p, struct loader_error *err)
{
	int lock = lock_shared(), ret = make_all(p, err);

	unlock_shared(lock);
	return ret;
}

void place_remove(const struct place *p)
{
	char path[sizeof(p->base)];
	int lock = lock_shared();
	char *slash;

	rmdir(p->maps);
	rmdir(p->progs);
	rmdir(p->links);
	rmdir(p->base);
	strcpy(path, p->base);
	slash = strrchr(path, '/');
	*slash = '\0'; /* root/vN: fails, rightly, while other instances are there */
	rmdir(path);
	rmdir(p->root);
	unlock_shared(lock);
}

struct lock_path {
	char text[sizeof(LOCK_FOLDER) + sizeof(((struct place *)0)->root) + LOADER_NAME_MAX + 32];
};

static struct lock_path lock_path(const struct place *p, enum lock_kind kind)
{
	struct lock_path path;
	char *c;

	snprintf(path.text, sizeof(path.text), LOCK_FOLDER "/%s:%s.%s", p->root + 1, p->name,
		 kind == LOCK_OWNER ? "owner" : "lock");
	for (c = path.text + sizeof(LOCK_FOLDER); *c; c++)
		if (*c == '/')
			*c = '-';
	return path;
}

/* The file may have been removed, and made anew, while we waited for it. */
static bool lock_has_name(int fd, const char *path)
{
	struct stat held, named;

	return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
	       held.st_dev == named.st_dev;
}

int lock_take(const struct place *p, enum lock_kind kind, struct loader_error *err)
{
	const struct lock_path path = lock_path(p, kind);
	int fd, code;

	for (;;) {
		if (mkdir(LOCK_FOLDER, 0755) < 0 && errno != EEXIST)
			return error_set(err, errno == EACCES ? -EPERM : -errno,
					 "cannot make the folder " LOCK_FOLDER ": %s",
					 strerror(errno));
		fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return error_set(err, errno == EACCES ? -EPERM : -errno,
					 "cannot open the lock %s: %s", path.text, strerror(errno));
		code = 0;
		if (flock(fd, LOCK_EX | (kind == LOCK_OWNER ? LOCK_NB : 0)) < 0)
			code = -errno;
		if (code == 0 && lock_has_name(fd, path.text))
			return fd;
		close(fd);
		if (code == -EWOULDBLOCK)
			return error_set(err, -EBUSY,
					 "a daemon owns the instance \"%s\" already: stop it, or "
					 "choose another name",
					 p->name);
		if (code < 0 && code != -EINTR)
			return error_set(err, code, "cannot lock %s: %s", path.text,
					 strerror(-code));
	}
}

void lock_forget(const struct place *p, enum lock_kind kind)
{
	unlink(lock_path(p, kind).text);
}
