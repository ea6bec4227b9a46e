"""The policy's `tags`: points by name, from YAML to the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from conduitfw.policy.functions import number
from conduitfw.policy.limits import said, spelled
from conduitfw.policy.model import Asset
from conduitfw.policy.source import Report, Section, nearest
from conduitfw.policy.tags import Tag
from conduitfw.protocols import Definition
from conduitfw.protocols.registry import PROTOCOLS


def read_tags(sections: Iterable[tuple[str, Section]], assets: Mapping[str, Asset], report: Report) -> dict[str, Tag]:
    """All tags by name; what is wrong is reported and left out."""
    found = {}
    for name, section in sections:
        tag = _TagReader(name, section, report).read(assets)
        if tag is not None:
            found[name] = tag
    _check_overlaps(found.values(), report)
    return found


class _TagReader:
    """One tag."""

    def __init__(self, name: str, section: Section, report: Report) -> None:
        self._name = name
        self._section = section
        self._report = report

    def read(self, assets: Mapping[str, Asset]) -> Tag | None:
        section = self._section
        text = section.scalar("asset")
        if text is None:
            return None
        asset = assets.get(text.value)
        if asset is None:
            hint = nearest(text.value, assets) or "name it under `assets:` of its zone"
            self._report.error(text.place, f"unknown asset {text.value!r}", hint)
        protocol = self._protocol()
        if asset is None or protocol is None:
            return None
        space, point = self._space(protocol), section.number(protocol.tag_keys[1])
        if space is None or point is None:
            return None
        encoding = self._encoding(protocol, space)
        width = protocol.encodings[encoding].width if encoding else 1
        if point + width - 1 > protocol.last_point:
            self._report.error(
                section.at(protocol.tag_keys[1]), f"{self._name} reaches beyond {protocol.last_point}",
                f"{encoding} takes {width}",
            )  # fmt: skip
        if width == 1 and "word_order" in section:
            self._report.error(section.keys["word_order"], f"{self._name} is one word: it has no order", "leave it out")
        scale = section.real("scale")
        if scale == 0:
            self._report.error(section.at("scale"), "`scale` is 0: every value would be the same", "for instance 0.1")
        tag = Tag(
            self._name,
            asset.name,
            asset.address,
            protocol,
            self._unit(protocol, asset),
            self._one_of_several(protocol, asset),
            space,
            point,
            encoding,
            section.choice("word_order", "big") == "big",
            scale or 1.0,
            section.real("offset") or 0.0,
            section.text("unit"),
            section.real("min"),
            section.real("max"),
            section.real("max_step"),
            section.place,
        )
        self._check_limits(tag)
        return tag

    def _protocol(self) -> Definition | None:
        """Its keys say which protocol it is of."""
        section = self._section
        named = [each for each in PROTOCOLS.values() if any(key in section for key in each.tag_keys)]
        ways = " or ".join(" and ".join(f"`{key}`" for key in each.tag_keys[:2]) for each in PROTOCOLS.values())
        if len(named) != 1:
            self._report.error(section.place, f"where is {self._name}?", f"it needs {ways}")
            return None
        protocol = named[0]
        for key in protocol.tag_keys[:2]:
            if key not in section:
                self._report.error(section.place, f"tag {self._name} needs `{key}`", f"a tag has {ways}")
                return None
        return protocol

    def _space(self, protocol: Definition) -> int | None:
        text = self._section.scalar(protocol.tag_keys[0])
        if text is None:
            return None
        word = text.value
        entry = protocol.spaces.by_name.get(word)
        value = entry.number if entry is not None else number(word.removeprefix("g"))
        if value is None or value not in protocol.spaces.by_number:
            known = protocol.spaces.by_name
            hint = nearest(word, known) or f"one of {', '.join(each.name for each in set(known.values()))[:200]}"
            self._report.error(text.place, f"unknown {protocol.spaces.what} {word!r}", hint)
            return None
        return value

    def _encoding(self, protocol: Definition, space: int) -> str:
        known = protocol.encodings_of(space)
        text = self._section.scalar("type")
        if text is None:
            return known[0] if known else ""
        if text.value in known:
            return text.value
        hint = nearest(text.value, known) or (f"one of {', '.join(known)}" if known else "leave it out")
        where = protocol.spaces.name(space)
        self._report.error(text.place, f"a point of {where} has no type {text.value!r}", hint)
        return known[0] if known else ""

    def _unit(self, protocol: Definition, asset: Asset) -> int | None:
        key = protocol.tag_keys[2]
        own = getattr(asset, protocol.address_fields[protocol.server_field].asset_field or "", None)
        values = frozenset((own,)) if isinstance(own, int) else own
        unit = self._section.number(key)
        for other in {each.tag_keys[2] for each in PROTOCOLS.values()} - {key}:
            if other in self._section:
                self._report.error(
                    self._section.keys[other], f"`{other}` means nothing for a point of {protocol.title}", f"`{key}`"
                )
        if unit is not None:
            if values is not None and unit not in values:
                listing = ", ".join(str(each) for each in sorted(values)[:8])
                self._report.error(self._section.at(key), f"{asset.name} has no such {key}", f"it has {listing}")
            return unit
        if values is not None and len(values) > 1:
            listing = ", ".join(str(each) for each in sorted(values)[:8])
            self._report.error(self._section.place, f"tag {self._name} needs `{key}`", f"{asset.name} has {listing}")
        return next(iter(values)) if values is not None and len(values) == 1 else None

    @staticmethod
    def _one_of_several(protocol: Definition, asset: Asset) -> bool:
        own = getattr(asset, protocol.address_fields[protocol.server_field].asset_field or "", None)
        return isinstance(own, frozenset) and len(own) > 1

    def _check_limits(self, tag: Tag) -> None:
        section, protocol = self._section, tag.protocol
        if not tag.encoding:
            for key in ("min", "max", "max_step", "scale", "offset", "unit"):
                if key in section:
                    where = protocol.spaces.name(tag.space)
                    self._report.error(section.keys[key], f"a point of {where} holds no number", f"leave `{key}` out")
            return
        if tag.lowest is not None and tag.highest is not None and tag.lowest > tag.highest:
            self._report.error(
                section.at("min"),
                f"`min` {spelled(tag.lowest)} is above `max` {spelled(tag.highest)}",
                "turn them round",
            )
        if tag.max_step is not None and tag.max_step <= 0:
            self._report.error(section.at("max_step"), "`max_step` is above 0", "for instance 5")
        encoding = protocol.encodings[tag.encoding]
        ends = sorted(each * tag.scale + tag.offset for each in (encoding.lowest, encoding.highest))
        for key, limit in (("min", tag.lowest), ("max", tag.highest)):
            if limit is not None and not ends[0] <= limit <= ends[1]:
                self._report.error(
                    section.at(key),
                    f"`{key}` {spelled(limit)} is no value of {tag.encoding}",
                    f"it holds {said(*ends)}",
                )
        if tag.limited and not protocol.tag_functions(tag.space, tag.width, True):
            self._report.warning(
                section.place, f"{tag.name} lies in {protocol.spaces.name(tag.space)}: nobody writes it",
                "its limits hold for nothing",
            )  # fmt: skip


def _check_overlaps(tags: Iterable[Tag], report: Report) -> None:
    """Two tags that share a register would be two readings of one value."""
    by_place: dict[tuple[object, ...], list[Tag]] = {}
    for tag in tags:
        by_place.setdefault((tag.server, tag.protocol.name, tag.space), []).append(tag)
    for found in by_place.values():
        for tag, other in _overlapping(sorted(found, key=lambda tag: tag.point)):
            report.error(other.place, f"{other.name} and {tag.name} are the same point, or share a part of one",
                         f"{tag.name} is at {tag.place}")  # fmt: skip


def _overlapping(ordered: Sequence[Tag]) -> Iterator[tuple[Tag, Tag]]:
    for place, tag in enumerate(ordered):
        for other in ordered[place + 1 :]:
            if other.point > tag.last:
                break
            if None in (tag.unit, other.unit) or tag.unit == other.unit:
                yield tag, other
