/* Starting an illumos executable through Linux' loader, outside a root folder of its own. */
#pragma once
#include <stdbool.h>

#define LAUNCH_LOADER "/lib64/ld-linux-x86-64.so.2"

/* Descriptors from here on are the shim's own: 1000, or the last few where a limit allows less. */
int launch_first_private_fd(void);
/* Whether the file is an executable for illumos. */
bool launch_is_illumos(const char *path);
/* Replaces this process by the program. `environment` must already hold the settings. Returns, with errno, on failure. */
int launch(const char *loader, const char *libraries, const char *path, char *const argv[], char *const environment[]);
