#!/bin/sh
# Makes what the wire between the two containers needs, once: a key for each end, and the producer's
# list of whom it admits. Each end gets a folder of its own, without the other's secret.
#   sh make_keys.sh PRODUCER_FOLDER LEARNER_FOLDER
set -eu

test -e "$1/producer.secret" || onlineflows keys make producer --folder "$1"
test -e "$2/learner.secret" || onlineflows keys make learner --folder "$2"
test -e "$2/producer.public" || cp "$1/producer.public" "$2/producer.public"
test -e "$1/allowed" || onlineflows keys allow "$1/allowed" "$2/learner.public"
