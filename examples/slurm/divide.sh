#!/usr/bin/env bash
# Divides one source on a Slurm cluster: an array job, each task of which divides one part,
# and a job behind it that joins their manifests. No task reads or writes what another does,
# and no shard is touched again by the joining.
#
#     examples/slurm/divide.sh PARTS SOURCE TO [options of dnc divide]
#     examples/slurm/divide.sh 16 /data/x.npy s3://bucket/x --split train=0.9,test=0.1
#
# SOURCE and TO must be the same places on every node: a shared file system, or URLs. dnc is
# taken from DNC, else from the PATH of the nodes. What sbatch shall know besides (account,
# partition, memory) goes into SBATCH_ARGS. A task that was killed runs again by
# "scontrol requeue" and goes on behind its finished shards.
set -euo pipefail

if [ $# -lt 3 ]; then
  sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2
  exit 2
fi
parts=$1
source=$2
to=$3
shift 3
dnc=${DNC:-dnc}
read -r -a sbatch_args <<<"${SBATCH_ARGS:-}"

divide=$(printf '%q ' "$dnc" divide "$source" --to "$to" "$@")
manifests=()
for ((i = 1; i <= parts; ++i)); do
  manifests+=("$to/manifest-$i-of-$parts.json")
done
merge=$(printf '%q ' "$dnc" merge "${manifests[@]}" --to "$to")

array=$(sbatch --parsable "${sbatch_args[@]}" --job-name dnc-divide --array "1-$parts" --requeue \
  --wrap "exec $divide --part \$SLURM_ARRAY_TASK_ID/$parts --threads \${SLURM_CPUS_PER_TASK:-1}")
echo "dividing as array job $array, $parts parts; joining when all are done"
merge_job=$(sbatch --parsable --wait "${sbatch_args[@]}" --job-name dnc-merge \
  --dependency "afterok:$array" --kill-on-invalid-dep=yes --wrap "exec $merge")
# A job that was cancelled because a part had failed ends the waiting with 0 too.
if ! scontrol --oneliner show job "${merge_job%%;*}" | grep -q JobState=COMPLETED; then
  echo "divide.sh: a part of job $array failed, or the joining, job $merge_job; nothing was" \
    "joined. Their slurm-*.out say why" >&2
  exit 1
fi
echo "$to/manifest.json"
