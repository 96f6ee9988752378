"""Dealing a block's pairs into booklets: an equitable colouring of a bipartite graph's edges.

Prompts stand on one side, cells on the other, and every pair is an edge between its prompt and its cell; colours are
booklets. Cutting a cell into groups of as many pairs as there are booklets leaves no node more edges than colours, and
then a proper colouring exists (Kőnig 1916): no prompt twice in a booklet, every cell spread over all within one.
Swapping two colours along a path evens out the booklets' sizes within one (de Werra 1971). So every shape, however
uneven, can be dealt without loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.errors import InputError
from evenhand.studies.assignment.pairs import PairCell

Node = tuple[object, ...]


def deal(pairs: Sequence[PairCell], count: int, rng: np.random.Generator) -> list[list[PairCell]]:
    """``pairs`` in ``count`` booklets at random: sizes and every cell's numbers within one, no prompt twice.

    ``ValueError`` if a prompt has more pairs than there are booklets.
    """
    colouring = Colouring(_edges(pairs, count, rng), count, rng)
    for edge in rng.permutation(len(pairs)):
        colouring.add(int(edge))
    colouring.even_out()
    return [[pairs[edge] for edge in sorted(booklet)] for booklet in colouring.members]


def _edges(pairs: Sequence[PairCell], count: int, rng: np.random.Generator) -> list[tuple[Node, Node]]:
    """Each pair's two nodes: its prompt, and one of its cell's groups of up to ``count`` pairs."""
    seen: dict[Node, int] = {}
    edges: list[tuple[Node, Node]] = [((), ())] * len(pairs)
    for i in (int(i) for i in rng.permutation(len(pairs))):
        prompt: Node = ("prompt", pairs[i].prompt)
        cell: Node = ("cell", *pairs[i].cell)
        seen[prompt] = seen.get(prompt, 0) + 1
        if seen[prompt] > count:
            raise InputError(f"prompt {pairs[i].prompt} has more pairs than the {count} booklets")
        place = seen.get(cell, 0)
        seen[cell] = place + 1
        edges[i] = (prompt, (*cell, place // count))
    return edges


class Colouring:
    """A growing proper colouring: at every node each colour stands once at most."""

    def __init__(self, edges: list[tuple[Node, Node]], count: int, rng: np.random.Generator) -> None:
        self.edges, self.rng = edges, rng
        self.at: dict[Node, dict[int, int]] = {node: {} for edge in edges for node in edge}  # colour -> edge
        self.members: list[set[int]] = [set() for _ in range(count)]

    def add(self, edge: int) -> None:
        """Colour one more edge; where its ends have no free colour in common, two colours change places on a path."""
        one, other = self.edges[edge]
        free_here, free_there = self._free(one), self._free(other)
        both = sorted(free_here & free_there)
        if both:
            colour = both[int(self.rng.integers(len(both)))]
        else:
            colour = min(free_here)
            self._swap(self._path(other, colour, min(free_there)), colour, min(free_there))
        self._put(edge, colour)

    def even_out(self) -> None:
        """Move edges from the largest booklet to the smallest until their sizes differ by one at most."""
        while True:
            sizes = [len(booklet) for booklet in self.members]
            large, small = int(np.argmax(sizes)), int(np.argmin(sizes))
            if sizes[large] - sizes[small] <= 1:
                return
            self._swap(self._odd_path(large, small), large, small)

    def _free(self, node: Node) -> set[int]:
        return set(range(len(self.members))) - self.at[node].keys()

    def _path(self, node: Node, first: int, second: int) -> list[int]:
        """Edges of the two colours by turns, from ``node`` to where the path ends."""
        path: list[int] = []
        while (edge := self.at[node].get(first)) is not None:
            path.append(edge)
            one, other = self.edges[edge]
            node, first, second = (other if node == one else one), second, first
        return path

    def _odd_path(self, large: int, small: int) -> list[int]:
        """A path that begins and ends with ``large``: there is one where ``large`` has more edges."""
        for edge in sorted(self.members[large]):
            for node in self.edges[edge]:
                if small not in self.at[node] and len(path := self._path(node, large, small)) % 2:
                    return path
        raise AssertionError("a colour with more edges has a path with more of them")

    def _swap(self, path: list[int], first: int, second: int) -> None:
        colours = [(first, second)[i % 2] for i in range(len(path))]
        for edge, colour in zip(path, colours, strict=True):
            self.members[colour].discard(edge)
            for node in self.edges[edge]:
                del self.at[node][colour]
        for edge, colour in zip(path, colours, strict=True):
            self._put(edge, first + second - colour)

    def _put(self, edge: int, colour: int) -> None:
        self.members[colour].add(edge)
        for node in self.edges[edge]:
            self.at[node][colour] = edge
