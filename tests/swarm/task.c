/* What a task of the test runs: a server that says hello on the port given to it, and is ready five seconds after its
 * start. As `task ready`, whether that is so. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_alarm(int signal) {
  (void)signal;
  close(open("/ready", O_CREAT | O_WRONLY, 0644));
}

static void on_term(int signal) {
  (void)signal;
  _exit(0);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  if (strcmp(argv[1], "ready") == 0) return access("/ready", F_OK) == 0 ? 0 : 1;
  signal(SIGTERM, on_term);
  signal(SIGALRM, on_alarm);
  alarm(5);
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  if (bind(listener, (struct sockaddr *)&any, sizeof any) != 0 || listen(listener, 16) != 0) return 1;
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    if (write(client, "hello\n", 6) < 0) { /* It has gone. */ }
    close(client);
  }
}
