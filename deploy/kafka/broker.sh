# shellcheck shell=bash
# One broker: its process, its port, its properties and its storage. Sourced by ./kafka.

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Whether a Kafka broker answers an ApiVersions request (key 18, version 0); any byte that is not zero will do.
answers() (
  exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
  printf '\0\0\0\012\0\022\0\0\0\0\0\01\377\377' >&3
  LC_ALL=C IFS= read -r -n 1 -t 2 -u 3 _
) 2>/dev/null

# The process of a broker, if it is still that one: process ids are used again.
running() { # HOME
  local pid
  pid=$(cat "$1/kafka.pid" 2>/dev/null) && [[ -n $pid ]] || return 1
  [[ $(ps -ww -o args= -p "$pid" 2>/dev/null) == *" kafka.Kafka $1/server.properties" ]] && echo "$pid"
}

port_of() { sed -nE 's|^advertised.listeners=PLAINTEXT://127.0.0.1:||p' "$1/server.properties"; } # HOME

home_of() { # DIR N
  local dir
  dir=$(directory "$1") || exit
  [[ -e $dir/broker-$2/server.properties ]] ||
    fail 2 "there is no broker $2 in $dir, which holds $(find "$dir" -maxdepth 1 -name 'broker-*' | wc -l) of them"
  echo "$dir/broker-$2"
}

directory() { (cd "$1" 2>/dev/null && pwd) || fail 2 "there is no directory $1"; }

# In place of this script, so that whoever started it holds the broker itself.
run() { # HOME
  CLASSPATH=$(<"$(class_path_file)")
  export CLASSPATH
  mkdir -p "$1/tmp" # libraries that a killed process would leave in the system's
  echo "$$" >"$1/kafka.pid"
  # A small heap is swept faster by one thread than by G1's many.
  exec java "-Xms$HEAP" "-Xmx$HEAP" -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData \
    -Djava.awt.headless=true "-Djava.io.tmpdir=$1/tmp" -Dlog4j2.level=INFO kafka.Kafka "$1/server.properties"
}

launch() { # HOME…; leaves their processes in `launched`
  local home
  launched=()
  trap 'end "${launched[@]}"; exit 1' INT TERM
  for home in "$@"; do
    nohup bash "$here/kafka" run "${home%/broker-*}" "${home##*-}" >>"$home/kafka.log" 2>&1 </dev/null &
    launched+=("$!")
  done
  wait_for_answers "$@"
  trap - INT TERM
}

wait_for_answers() { # HOME…
  local home pid i=0 deadline=$((SECONDS + START_S))
  for home in "$@"; do
    pid=${launched[i++]}
    until answers "$(port_of "$home")"; do
      if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
        end "${launched[@]}"
        fail 1 "broker ${home##*-} did not answer within $START_S s; $home/kafka.log ends with:"$'\n'"$(tail -n 15 "$home/kafka.log")"
      fi
      sleep 0.1
    done
    echo "Apache Kafka answers at 127.0.0.1:$(port_of "$home") (process $pid, log $home/kafka.log)"
  done
}

end() { # PID…
  local pid deadline=$((SECONDS + STOP_S))
  for pid in "$@"; do kill "$pid" 2>/dev/null || true; done
  for pid in "$@"; do
    while kill -0 "$pid" 2>/dev/null; do
      ((SECONDS < deadline)) || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.1
    done
  done
}

write_properties() { # HOME N BROKERS PORT CONTROLLER_PORT VOTERS
  local copies=$3 few=$(($3 > 1 ? 2 : 1))
  cat >"$1/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$2
controller.quorum.voters=$6
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$4,CONTROLLER://127.0.0.1:$5
advertised.listeners=PLAINTEXT://127.0.0.1:$4
log.dirs=$1/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# Consumers may ask for shorter time-outs than a real cluster would allow.
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
# A dead broker's partitions are led by another after 5 s in place of 9.
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
# Few partitions of Kafka's own topics, so that they are there at once.
default.replication.factor=$copies
min.insync.replicas=$few
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$few
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$few
share.coordinator.state.topic.num.partitions=4
log.cleaner.dedupe.buffer.size=16777216
${KAFKA_PROPERTIES:-}
PROPERTIES
}

# A node's storage differs from another's in two names only: formatting takes a second, copying does not.
format() { # HOME N FIRST_HOME
  local data=$1/data
  [[ -e $data/meta.properties ]] && return
  if [[ $1 == "$3" ]]; then
    java -Xmx128m -XX:TieredStopAtLevel=1 -XX:-UsePerfData kafka.tools.StorageTool format --cluster-id "$CLUSTER_ID" \
      --config "$1/server.properties" >"$1/kafka.log" 2>&1 ||
      fail 1 "its storage could not be formatted; $1/kafka.log ends with:"$'\n'"$(tail -n 5 "$1/kafka.log")"
    return
  fi
  mkdir -p "$data"
  cp -R "$3/data/." "$data"
  # 21 characters and a last one of which only two bits count: 16 bytes in base64.
  printf 'version=1\ncluster.id=%s\nnode.id=%s\ndirectory.id=%sg\n' "$CLUSTER_ID" "$2" \
    "$(LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom 2>/dev/null | head -c 21 || true)" >"$data/meta.properties"
}
