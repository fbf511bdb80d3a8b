/* Threads, mutexes, condition variables. glibc's objects are larger than illumos': the program's object holds a pointer to
 * glibc's, made at first use, because a zeroed mutex is a valid one. */
#include "shim.h"
#include "illumos/processes.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Makes the boxed object unless another thread was faster. */
static void *box(void **where, size_t size, int (*init)(void *object, const void *attributes), const void *attributes)
{
	void *object = __atomic_load_n(where, __ATOMIC_ACQUIRE);
	if (object != NULL)
		return object;
	void *made = calloc(1, size), *expected = NULL;
	if (made == NULL || init(made, attributes) != 0)
		shim_die("no memory for a lock");
	if (__atomic_compare_exchange_n(where, &expected, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return made;
	free(made);
	return expected;
}

static void unbox(void **where)
{
	free(*where);
	*where = NULL;
}

/* -- mutexes -- */
static int mutex_init(void *object, const void *of)
{
	const struct il_mutex *mutex = of;
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	if (mutex->type & IL_MUTEX_RECURSIVE)
		pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	else if (mutex->type & IL_MUTEX_ERRORCHECK)
		pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
	int error = pthread_mutex_init(object, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return error;
}

static pthread_mutex_t *mutex_of(struct il_mutex *mutex)
{
	return box(&mutex->box, sizeof(pthread_mutex_t), mutex_init, mutex);
}

ILLUMOS(int, pthread_mutexattr_init, (uintptr_t *attributes))
{
	*attributes = 0;
	return 0;
}

ILLUMOS(int, pthread_mutexattr_destroy, (uintptr_t *attributes))
{
	(void)attributes;
	return 0;
}

ILLUMOS(int, pthread_mutexattr_settype, (uintptr_t *attributes, int type))
{
	*attributes = type;
	return 0;
}

ILLUMOS(int, pthread_mutex_init, (struct il_mutex *mutex, const uintptr_t *attributes))
{
	*mutex = (struct il_mutex){.type = attributes == NULL ? 0 : *attributes, .magic = 0x4d58};
	return 0;
}

ILLUMOS(int, pthread_mutex_destroy, (struct il_mutex *mutex))
{
	if (mutex->box != NULL) {
		int error = pthread_mutex_destroy(mutex->box);
		if (error != 0)
			return shim_errno_to_illumos(error);
		unbox(&mutex->box);
	}
	return 0;
}

ILLUMOS(int, pthread_mutex_lock, (struct il_mutex *mutex))
{
	return shim_errno_to_illumos(pthread_mutex_lock(mutex_of(mutex)));
}

ILLUMOS(int, pthread_mutex_trylock, (struct il_mutex *mutex))
{
	return shim_errno_to_illumos(pthread_mutex_trylock(mutex_of(mutex)));
}

ILLUMOS(int, pthread_mutex_unlock, (struct il_mutex *mutex))
{
	return shim_errno_to_illumos(pthread_mutex_unlock(mutex_of(mutex)));
}

/* -- condition variables; the clock is kept beside glibc's object, for the scaling of deadlines -- */
struct condition {
	pthread_cond_t object;
	clockid_t clock;
};

static int condition_init(void *object, const void *illumos_clock)
{
	struct condition *condition = object;
	pthread_condattr_t attributes;
	condition->clock = shim_clock_to_linux(*(const int *)illumos_clock);
	pthread_condattr_init(&attributes);
	int error = pthread_condattr_setclock(&attributes, condition->clock);
	if (error == 0)
		error = pthread_cond_init(&condition->object, &attributes);
	pthread_condattr_destroy(&attributes);
	return error;
}

static struct condition *condition_of(struct il_cond *cond)
{
	static const int clock = IL_CLOCK_REALTIME;
	return box(&cond->box, sizeof(struct condition), condition_init, &clock);
}

ILLUMOS(int, pthread_condattr_init, (uintptr_t *attributes))
{
	*attributes = IL_CLOCK_REALTIME;
	return 0;
}

ILLUMOS(int, pthread_condattr_destroy, (uintptr_t *attributes))
{
	(void)attributes;
	return 0;
}

ILLUMOS(int, pthread_condattr_setclock, (uintptr_t *attributes, int clock))
{
	if (clock != IL_CLOCK_REALTIME && clock != IL_CLOCK_MONOTONIC)
		return shim_errno_to_illumos(EINVAL);
	*attributes = clock;
	return 0;
}

ILLUMOS(int, pthread_cond_init, (struct il_cond *cond, const uintptr_t *attributes))
{
	int clock = attributes == NULL ? IL_CLOCK_REALTIME : (int)*attributes;
	*cond = (struct il_cond){.magic = 0x4356};
	box(&cond->box, sizeof(struct condition), condition_init, &clock);
	return 0;
}

ILLUMOS(int, pthread_cond_destroy, (struct il_cond *cond))
{
	if (cond->box != NULL) {
		pthread_cond_destroy(&condition_of(cond)->object);
		unbox(&cond->box);
	}
	return 0;
}

ILLUMOS(int, pthread_cond_signal, (struct il_cond *cond))
{
	return shim_errno_to_illumos(pthread_cond_signal(&condition_of(cond)->object));
}

ILLUMOS(int, pthread_cond_broadcast, (struct il_cond *cond))
{
	return shim_errno_to_illumos(pthread_cond_broadcast(&condition_of(cond)->object));
}

ILLUMOS(int, pthread_cond_wait, (struct il_cond *cond, struct il_mutex *mutex))
{
	return shim_errno_to_illumos(pthread_cond_wait(&condition_of(cond)->object, mutex_of(mutex)));
}

ILLUMOS(int, pthread_cond_timedwait, (struct il_cond *cond, struct il_mutex *mutex, const struct timespec *until))
{
	struct condition *condition = condition_of(cond);
	struct timespec real = shim_real_time(condition->clock, until);
	return shim_errno_to_illumos(pthread_cond_timedwait(&condition->object, mutex_of(mutex), &real));
}

/* -- threads; a pthread_t is a 32-bit number, the main thread's is 1 -- */
#define THREADS 4096
enum slot_state { FREE, USED, DETACHED };
static struct slot {
	pthread_t thread;
	enum slot_state state;
	bool ended;
} slots[THREADS];
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread unsigned own_id = 1;

struct il_thread_attributes {
	size_t stack_size;
	int detach_state;
};

ILLUMOS(int, pthread_attr_init, (struct il_thread_attributes **attributes))
{
	*attributes = calloc(1, sizeof **attributes);
	return *attributes == NULL ? shim_errno_to_illumos(ENOMEM) : 0;
}

ILLUMOS(int, pthread_attr_destroy, (struct il_thread_attributes **attributes))
{
	free(*attributes);
	return 0;
}

ILLUMOS(int, pthread_attr_setstacksize, (struct il_thread_attributes **attributes, size_t size))
{
	(*attributes)->stack_size = size;
	return 0;
}

ILLUMOS(int, pthread_attr_setdetachstate, (struct il_thread_attributes **attributes, int state))
{
	(*attributes)->detach_state = state;
	return 0;
}

/* Under the lock: gives a slot back when nobody can ask for its thread any more. */
static void release_if_done(struct slot *slot)
{
	if (slot->state == DETACHED && slot->ended)
		*slot = (struct slot){.state = FREE};
}

struct start {
	void *(*function)(void *);
	void *argument;
	unsigned id;
};

static void *run_thread(void *given)
{
	struct start start = *(struct start *)given;
	free(given);
	own_id = start.id;
	void *result = start.function(start.argument);
	pthread_mutex_lock(&slots_lock);
	slots[start.id].ended = true;
	release_if_done(&slots[start.id]);
	pthread_mutex_unlock(&slots_lock);
	return result;
}

/* The least stack on which glibc and a Rust thread start; illumos' PTHREAD_STACK_MIN is one page. */
#define LEAST_STACK (256 * 1024)

ILLUMOS(int, pthread_create,
	(unsigned *id, struct il_thread_attributes *const *attributes, void *(*function)(void *), void *argument))
{
	pthread_attr_t own;
	struct start *start = malloc(sizeof *start);
	if (start == NULL)
		return shim_errno_to_illumos(EAGAIN);
	pthread_attr_init(&own);
	bool detached = false;
	if (attributes != NULL) {
		size_t size = (*attributes)->stack_size;
		if (size != 0)
			pthread_attr_setstacksize(&own, size < LEAST_STACK ? LEAST_STACK : size);
		detached = (*attributes)->detach_state == IL_CREATE_DETACHED;
		if (detached)
			pthread_attr_setdetachstate(&own, PTHREAD_CREATE_DETACHED);
	}
	pthread_mutex_lock(&slots_lock);
	unsigned slot = 2;
	while (slot < THREADS && slots[slot].state != FREE)
		slot++;
	int error = EAGAIN;
	if (slot < THREADS) {
		*start = (struct start){.function = function, .argument = argument, .id = slot};
		slots[slot] = (struct slot){.state = detached ? DETACHED : USED};
		error = pthread_create(&slots[slot].thread, &own, run_thread, start);
		if (error != 0)
			slots[slot].state = FREE;
		else
			*id = slot;
	}
	pthread_mutex_unlock(&slots_lock);
	pthread_attr_destroy(&own);
	if (error != 0)
		free(start);
	return shim_errno_to_illumos(error);
}

ILLUMOS(unsigned, pthread_self, (void))
{
	return own_id;
}

static bool is_joinable(unsigned id)
{
	return id < THREADS && slots[id].state == USED;
}

ILLUMOS(int, pthread_join, (unsigned id, void **result))
{
	pthread_mutex_lock(&slots_lock);
	pthread_t thread = is_joinable(id) ? slots[id].thread : 0;
	pthread_mutex_unlock(&slots_lock);
	if (thread == 0)
		return shim_errno_to_illumos(ESRCH);
	int error = pthread_join(thread, result);
	if (error == 0) {
		pthread_mutex_lock(&slots_lock);
		slots[id] = (struct slot){.state = FREE};
		pthread_mutex_unlock(&slots_lock);
	}
	return shim_errno_to_illumos(error);
}

ILLUMOS(int, pthread_detach, (unsigned id))
{
	int error = ESRCH;
	pthread_mutex_lock(&slots_lock);
	if (is_joinable(id)) {
		error = pthread_detach(slots[id].thread);
		slots[id].state = DETACHED;
		release_if_done(&slots[id]);
	}
	pthread_mutex_unlock(&slots_lock);
	return shim_errno_to_illumos(error);
}

ILLUMOS(int, pthread_setname_np, (unsigned id, const char *name))
{
	(void)id;
	/* PTHREAD_MAX_NAMELEN_NP is 32 (usr/src/head/pthread.h). Linux has half of that, so the name goes nowhere. */
	return strlen(name) < 32 ? 0 : shim_errno_to_illumos(ERANGE);
}
