/* SPDX-License-Identifier: Apache-2.0 */
/* serve - the daemon: wiring, signals, order of start and stop. */
#ifndef FERMATA_SERVE_H
#define FERMATA_SERVE_H

int serve_main(int argc, char **argv);

#endif
