"""Streams over HTTP: behind a slow link, and with a cache much smaller than the data.

MosaicML reads the same nginx as if it were S3, whose GET it answers like any other.
"""

import os
import shutil

import links
from loaders import (PEERS, divided, encoded_photos, decoded_photos, fashion_mnist, figures_text,
                     json_of, peer_python, prepared, run_command, run_package, run_peer)
from measure import Row, Skip, folder_bytes, run_once

SECONDS = 12  # Of a peer, or an epoch if that is shorter.
STALLED_SECONDS = 25
TRAINING_RATE = 500  # Samples/s of the photos; a small CNN takes a hundred on two cores.


def peer_over_http(context, loader, data, url, *more, prefix=(), **options):
    """A peer's figures; a fresh cache each time."""
    place = context.place(prepared(context, data, loader))
    python = peer_python()
    cache = context.path("mosaicml-cache")
    shutil.rmtree(cache, ignore_errors=True)
    environment = dict(os.environ, NO_PROXY="*", AWS_ACCESS_KEY_ID="none",
                       AWS_SECRET_ACCESS_KEY="none", AWS_DEFAULT_REGION="us-east-1",
                       S3_ENDPOINT_URL=url.removesuffix("/data"), HF_HUB_OFFLINE="1")
    where = f"s3://data/{place}" if loader == "mosaicml" else f"{url}/{place}"
    return run_peer(python, loader, data, where, "--cache", cache, "--patience",
                    str(STALLED_SECONDS), *more, prefix=prefix, env=environment, **options)


def rows_behind_link(context, data, url, prefix):
    rows = []
    shards = divided(context, data, "balanced")
    place = f"{url}/{context.place(shards)}"
    wire = links.MEGABITS * 1e6 / 8 / (folder_bytes(shards) / data.samples)
    ours = {
        "command": run_command(context, data, place, prefix=prefix),
        "Python": run_package(data, place, "--samples", str(data.samples), seconds=60,
                              prefix=prefix),
    }
    for way, figures in ours.items():
        rows.append(Row(f"{data.name} over the link: ours, {way}", figures_text(figures),
                        f"the wire brings {wire:,.0f}/s of ours",
                        figures["samples_per_second"] / wire))
    firsts = []
    for loader in ("mosaicml", "webdataset", "huggingface"):
        try:
            figures = peer_over_http(context, loader, data, url, "--samples", str(data.samples),
                                     prefix=prefix, seconds=SECONDS)
        except Skip as reason:
            rows.append(Row(f"{data.name} over the link: {PEERS[loader]}", "skipped", str(reason)))
            break
        if figures["first_batch_seconds"] is None:
            rows.append(Row(f"{data.name} over the link: {PEERS[loader]}", "no batch",
                            f"in {STALLED_SECONDS} s"))
            continue
        firsts.append(figures["first_batch_seconds"])
        rows.append(Row(f"{data.name} over the link: {PEERS[loader]}", figures_text(figures)))
    if firsts:
        first = ours["Python"]["first_batch_seconds"]
        rows.append(Row(f"{data.name} over the link: first batch in Python", f"{first:.2f} s",
                        f"soonest peer {min(firsts):.2f} s", first / min(firsts),
                        "at most 0.333", first <= min(firsts) / 3))
    return rows


def over_http(context):
    """An epoch of each from nginx, over 100 Mbit/s with a round trip of 20 ms; one run each,
    since the link sets the pace."""
    rows = []
    with links.shaped_nginx(context) as (url, prefix):
        for make in (fashion_mnist, decoded_photos, encoded_photos):
            try:
                rows += rows_behind_link(context, make(context), url, prefix)
            except Skip as reason:
                rows.append(Row(f"over_http: {make.__name__}", "skipped", str(reason)))
    return rows


def small_cache(context):
    """Two epochs of photos from nginx on loopback at the rate of a training, with a cache of
    a tenth of the data and with one of all."""
    data = decoded_photos(context)
    shards = divided(context, data, "balanced")
    stored = folder_bytes(shards)
    rows = []
    with links.nginx(context) as url:
        command = [context.dnc, "stream", f"{url}/{context.place(shards)}", "--json", "--rate",
                   str(TRAINING_RATE), "--epochs", "2", "--batch-size", "32", "--disk"]
        limited = json_of(run_once([*command, str(stored // 10)]))
        whole = json_of(run_once([*command, str(2 * stored)]))
        ratio = limited["samples_per_second"] / whole["samples_per_second"]
        what = f"photos at {TRAINING_RATE}/s, a cache of a tenth"
        rows.append(Row(f"{what}: ours", f"{limited['samples_per_second']:,.0f} samples/s",
                        f"without a limit {whole['samples_per_second']:,.0f}", ratio,
                        "at least 0.9", ratio >= 0.9))
        share = limited["waiting_share"]
        rows.append(Row(f"{what}: ours, waiting", f"{share:.2%}",
                        f"without a limit {whole['waiting_share']:.2%}", None, "at most 1%",
                        share <= 0.01))
        rows.append(Row(f"{what}: ours, downloaded", f"{limited['fetched_bytes'] / 1e6:,.0f} MB",
                        f"two epochs are {2 * stored / 1e6:,.0f} MB",
                        limited["fetched_bytes"] / (2 * stored)))
        for share in (0.5, 0.1):
            name = f"photos at {TRAINING_RATE}/s, a cache of {share:.0%}: MosaicML Streaming"
            try:
                limit = int(share * data.samples * 198 * 198 * 3)
                figures = peer_over_http(context, "mosaicml", data, url, "--rate",
                                         str(TRAINING_RATE), "--cache-bytes", str(limit),
                                         seconds=SECONDS)
            except Skip as reason:
                rows.append(Row(name, "skipped", str(reason)))
                break
            except RuntimeError as error:
                rows.append(Row(name, "refuses", str(error)[-160:]))
                continue
            stalled = " (stalled)" if figures["stalled"] else ""
            rows.append(Row(name, f"{figures['samples_per_second']:,.0f} samples/s{stalled}",
                            f"asked for {TRAINING_RATE}",
                            figures["samples_per_second"] / TRAINING_RATE))
    return rows
