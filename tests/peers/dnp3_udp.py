"""A DNP3 outstation over UDP, of dnp3py's parts: dnp3_udp.py ADDRESS PORT RECORD. RECORD gets each function code.

Its link layer goes on across datagrams, as one does that was written for a serial line.
"""

from __future__ import annotations

import socket
import sys

from dnp3.database import BinaryInputConfig, Database
from dnp3.datalink.builder import build_unconfirmed_user_data
from dnp3.datalink.parser import FrameParser
from dnp3.outstation import Outstation, OutstationConfig
from dnp3.transport.reassembler import Reassembler
from dnp3.transport.segment import TransportSegment


def main(address: str, port: int, path: str) -> None:
    database = Database()
    database.add_binary_input(0, BinaryInputConfig())
    outstation = Outstation(database=database, config=OutstationConfig(address=10))
    frames, fragments = FrameParser(), Reassembler()
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((address, port))
    with open(path, "a", 1) as record:
        print("ready", flush=True)
        while True:
            data, peer = line.recvfrom(65536)
            for frame in frames.feed(data):
                header = frame.header
                if header.destination not in (10, 0xFFFD, 0xFFFE, 0xFFFF) or not frame.user_data:
                    continue
                fragment = fragments.add(TransportSegment.from_bytes(frame.user_data))
                if fragment is None:
                    continue
                print(fragment.data[1], file=record)
                for answer in outstation.process_request(fragment.data):
                    user_data = b"\xc0" + answer.to_bytes()
                    said = build_unconfirmed_user_data(header.source, 10, False, user_data)  # not from a master
                    line.sendto(said.to_bytes(), peer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
