/* A name server that does not answer, for one name: preloaded, it lets the look-up of slow.test take
 * half a minute while the file $SLOW_NAMES is there, and refuses it at once while it is not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*look_up)(const char*, const char*, const struct addrinfo*, struct addrinfo**);

int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints,
                struct addrinfo** found) {
  if (node != NULL && strcmp(node, "slow.test") == 0) {
    const char* file = getenv("SLOW_NAMES");
    if (file != NULL && access(file, F_OK) == 0) sleep(30);
    return EAI_NONAME;
  }
  return ((look_up)dlsym(RTLD_NEXT, "getaddrinfo"))(node, service, hints, found);
}
