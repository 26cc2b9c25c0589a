# shellcheck shell=bash
# What Apache Kafka needs before it starts: Java, and its jars by way of Maven. Sourced by ./kafka.

need_java() {
  local said
  said=$(java -version 2>&1) ||
    fail 2 "Apache Kafka needs Java 17 or newer, and there is no java that runs; install one (Debian: apt install openjdk-17-jre-headless)"
  java_major=$(sed -nE 's/.*version "([0-9]+).*/\1/p' <<<"$said" | head -n 1)
  [[ ${java_major:-0} -ge 17 ]] || fail 2 "Apache Kafka needs Java 17 or newer; this java is: ${said%%$'\n'*}"
}

need_maven() {
  command -v mvn >/dev/null ||
    fail 2 "the jars come through Maven, and there is no mvn; install it (Debian: apt install maven)"
}

kafka_version() { sed -nE 's|.*<kafka.version>(.*)</kafka.version>.*|\1|p' "$here/pom.xml"; }

# The class path of this pom.xml, as Maven said once: asking it takes longer than starting a broker.
class_path_file() {
  local sum
  sum=$(cksum <"$here/pom.xml")
  echo "$cache/kafka-$(kafka_version)-${sum%% *}.classpath"
}

class_path_is_there() { # FILE
  local jar jars=()
  [[ -s $1 ]] || return 1
  IFS=: read -ra jars <"$1" || true # the file ends without a line end
  for jar in "${jars[@]}"; do [[ -e $jar ]] || return 1; done
}

# Offline first: no network is asked when all jars are there.
get_jars() {
  local file new line
  file=$(class_path_file)
  class_path_is_there "$file" && return
  need_maven
  mkdir -p "$cache"
  new=$(mktemp "$cache/classpath.XXXXXX")
  local ask=(mvn -B -f "$here/pom.xml" dependency:build-classpath -Dmdep.includeScope=runtime "-Dmdep.outputFile=$new")
  if ! "${ask[@]}" -o >"$new.log" 2>&1; then
    echo "getting the jars of Apache Kafka $(kafka_version) from Maven Central (about 45 MB, once)" >&2
    if ! "${ask[@]}" 2>&1 | tee "$new.log" | fetched >&2; then
      line=$(grep -m 1 ERROR "$new.log" || true)
      rm -f "$new" "$new.log"
      fail 2 "Maven could not get the jars of Apache Kafka: is Maven Central reached? ${line:0:300}"
    fi
  fi
  mv "$new" "$file"
  rm -f "$new.log"
}

fetched() {
  local line
  while IFS= read -r line; do
    [[ $line =~ Downloaded\ from\ .*/([^/]+\.jar)\ \((.*)\ at ]] && echo "  ${BASH_REMATCH[1]} (${BASH_REMATCH[2]})"
  done
  true
}
