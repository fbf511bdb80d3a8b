/* Error numbers. */
#include "shim.h"
#include "illumos/errno.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct error {
	const char *name;
	int linux_number, illumos;
} errors[] = {
#define E(name, number) {#name, name, number},
	IL_ERRNO_SHARED(E) IL_ERRNO_TABLE(E)
#undef E
};
#define ERRORS (sizeof errors / sizeof *errors)

static const struct error *by_linux(int number)
{
	for (size_t i = 0; i < ERRORS; i++)
		if (errors[i].linux_number == number)
			return &errors[i];
	return NULL;
}

int shim_errno_to_illumos(int number)
{
	if (number == 0)
		return 0;
	const struct error *error = by_linux(number);
	if (error == NULL)
		shim_die("illumos has no error like Linux' %d (%s)", number, strerrorname_np(number));
	return error->illumos;
}

int shim_errno_to_linux(int number)
{
	if (number == IL_ENOTSUP)
		return ENOTSUP;
	for (size_t i = 0; i < ERRORS; i++)
		if (errors[i].illumos == number)
			return errors[i].linux_number;
	return number;
}

const char *shim_errno_name(int number)
{
	const struct error *error = by_linux(number);
	return error == NULL ? "?" : error->name;
}

int shim_errno_parse(const char *text)
{
	for (size_t i = 0; i < ERRORS; i++)
		if (strcmp(errors[i].name, text) == 0)
			return errors[i].linux_number;
	return shim_errno_to_linux(atoi(text));
}

/* The program's errno. glibc's own is kept at a value that no error has; when that changes, a call has failed since
 * the program last looked. So glibc's functions need no wrapper for the sake of errno, and what the program itself
 * writes stays until the next failure. */
#define PARKED (-4095)
static __thread int program_errno;

ILLUMOS(int *, ___errno, (void))
{
	if (errno != PARKED) {
		if (errno != 0)
			program_errno = shim_errno_to_illumos(errno);
		errno = PARKED;
	}
	return &program_errno;
}

/* strerror(3C)'s texts are locale matter; tests that compare them want one wording, and Linux' will do. */
ILLUMOS(char *, strerror, (int number))
{
	return strerror(shim_errno_to_linux(number));
}

ILLUMOS(int, strerror_r, (int number, char *buffer, size_t size))
{
	const char *text = strerrordesc_np(shim_errno_to_linux(number));
	char unknown[32];
	if (text == NULL) {
		snprintf(unknown, sizeof unknown, "Unknown error %d", number);
		text = unknown;
	}
	if (strlen(text) >= size)
		return shim_errno_to_illumos(ERANGE);
	strcpy(buffer, text);
	return 0;
}

void shim_die(const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	int size = snprintf(text, sizeof text, "abi-shim: ");
	size += vsnprintf(text + size, sizeof text - size - 1, format, arguments);
	va_end(arguments);
	if (size > (int)sizeof text - 2)
		size = sizeof text - 2;
	text[size++] = '\n';
	if (write(STDERR_FILENO, text, size) < 0)
		_exit(126);
	abort();
}

/* What libc.so.1 jumps to under the names that nobody has written yet. */
__attribute__((visibility("default"))) _Noreturn void shim_missing(const char *name)
{
	shim_die("%s is not implemented", name);
}
