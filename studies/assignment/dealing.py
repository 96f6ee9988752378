"""Deal a block's pairs into booklets, by an equitable colouring of a bipartite graph's edges.

Dealing hands every pair of a block to exactly one booklet, as cards are dealt to players. Prompts stand on one side of
the graph, cells (a comparison's pairs of one stratum) on the other, and every pair is an edge between its prompt and
its cell; colours are booklets. Cutting a cell into groups of as many pairs as there are booklets leaves no node more
edges than colours, and then a proper colouring exists (Kőnig 1916): no prompt twice in a booklet, every cell spread
over all within one. Swapping two colours along a path evens out the booklets' sizes within one (de Werra 1971). So
every shape, however uneven, can be dealt without loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.errors import InputError
from evenhand.studies.assignment.pairs import PairCell

Node = tuple[object, ...]


def deal(pairs: Sequence[PairCell], count: int, rng: np.random.Generator) -> list[list[PairCell]]:
    """Deal ``pairs`` into ``count`` booklets at random: sizes and every cell's numbers within one, no prompt twice.

    Raises ``InputError`` if a prompt has more pairs than there are booklets.
    """
    colouring = Colouring(_edges(pairs, count, rng), count, rng)
    for edge in rng.permutation(len(pairs)):
        colouring.add(int(edge))
    colouring.even_out()
    return [[pairs[edge] for edge in sorted(booklet)] for booklet in colouring.members]


def _edges(pairs: Sequence[PairCell], count: int, rng: np.random.Generator) -> list[tuple[Node, Node]]:
    """Return each pair's two nodes: its prompt, and one of its cell's groups of up to ``count`` pairs."""
    counts: dict[Node, int] = {}
    edges: list[tuple[Node, Node]] = [((), ())] * len(pairs)
    for i in (int(i) for i in rng.permutation(len(pairs))):
        prompt: Node = ("prompt", pairs[i].prompt)
        cell: Node = ("cell", *pairs[i].cell)
        counts[prompt] = counts.get(prompt, 0) + 1
        if counts[prompt] > count:
            raise InputError(f"prompt {pairs[i].prompt} has more pairs than the {count} booklets")
        place = counts.get(cell, 0)
        counts[cell] = place + 1
        edges[i] = (prompt, (*cell, place // count))
    return edges


class Colouring:
    """A proper colouring that grows edge by edge: no node has two edges of one colour."""

    def __init__(self, edges: list[tuple[Node, Node]], count: int, rng: np.random.Generator) -> None:
        self.edges, self.rng = edges, rng
        self.at: dict[Node, dict[int, int]] = {node: {} for edge in edges for node in edge}  # colour -> edge
        self.members: list[set[int]] = [set() for _ in range(count)]

    def add(self, edge: int) -> None:
        """Colour one more edge; where its ends have no free colour in common, swap two colours along a path first."""
        one, other = self.edges[edge]
        one_free, other_free = self._free_colours(one), self._free_colours(other)
        common = sorted(one_free & other_free)
        if common:
            colour = common[int(self.rng.integers(len(common)))]
        else:
            colour = min(one_free)
            self._swap(self._path(other, colour, min(other_free)), colour, min(other_free))
        self._put(edge, colour)

    def even_out(self) -> None:
        """Move edges from the largest booklet to the smallest until their sizes differ by one at most."""
        while True:
            sizes = [len(booklet) for booklet in self.members]
            large, small = int(np.argmax(sizes)), int(np.argmin(sizes))
            if sizes[large] - sizes[small] <= 1:
                return
            self._swap(self._odd_path(large, small), large, small)

    def _free_colours(self, node: Node) -> set[int]:
        return set(range(len(self.members))) - self.at[node].keys()

    def _path(self, node: Node, first_colour: int, second_colour: int) -> list[int]:
        """Return the edges of the two colours by turns, from ``node`` to where the path ends."""
        path: list[int] = []
        while (edge := self.at[node].get(first_colour)) is not None:
            path.append(edge)
            one, other = self.edges[edge]
            node, first_colour, second_colour = (other if node == one else one), second_colour, first_colour
        return path

    def _odd_path(self, large: int, small: int) -> list[int]:
        """Return a path that begins and ends with ``large``; it exists where ``large`` has more edges."""
        for edge in sorted(self.members[large]):
            for node in self.edges[edge]:
                if small not in self.at[node] and len(path := self._path(node, large, small)) % 2:
                    return path
        raise AssertionError("a colour with more edges has a path with more of them")

    def _swap(self, path: list[int], first_colour: int, second_colour: int) -> None:
        colours = [(first_colour, second_colour)[i % 2] for i in range(len(path))]
        for edge, colour in zip(path, colours, strict=True):
            self.members[colour].discard(edge)
            for node in self.edges[edge]:
                del self.at[node][colour]
        for edge, colour in zip(path, colours, strict=True):
            self._put(edge, first_colour + second_colour - colour)

    def _put(self, edge: int, colour: int) -> None:
        self.members[colour].add(edge)
        for node in self.edges[edge]:
            self.at[node][colour] = edge
