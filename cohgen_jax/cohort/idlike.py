"""What names look like: those of genes and probes, or those of patients and samples.

Identifiers of databases are sure (Ensembl, probes, barcodes), and so are symbols of well-known
genes; a word with a number behind it (gene_12, patient07) is a hint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from cohgen_jax.cohort.ids import canonical_barcode
from cohgen_jax.cohort.spellings import joined
from cohgen_jax.cohort.text import ID_NAMES

_FEATURE = re.compile(
    r"ENS[A-Z]{0,6}[EGTPR]\d{11}(\.\d+)?(_.*)?"  # Ensembl
    r"|(cg|ch\.\d+\.|rs)\d{5,}[RF]?"  # methylation probes, variants
    r"|(hsa|mmu|rno)-(mir|let|miR)-.+|MIMAT\d{7}|MI\d{7}"
    r"|\d+_([sxaf]_)?(st|at)|ILMN_\d+|A_\d{2}_P\d+"  # arrays
    r"|(LOC|LINC)\d{5,}|(chr)?[\dXY]{1,2}:\d+([-:_].*)?|chr[\dXY]{1,2}_\d+(_.*)?"
    r"|(HGNC|ENTREZ|GO|UniProt(KB)?):\w+|N[MRP]_\d{6,}(\.\d+)?",
    re.IGNORECASE,
)
_SAMPLE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|GSM\d{5,}|SAM[END][A-Z]?\d{5,}|[SED]RR\d{5,}"
    r"|ACH-\d{6}|SIDM\d{5}|[ACGT]{12,}(-\d+)?(_.*)?|DO\d{4,}",
    re.IGNORECASE,
)
"""UUID, GEO, BioSample, SRA, DepMap, cell barcodes, ICGC donors."""
_FEATURE_HINT = re.compile(
    r"(gene|genes|prot|protein|probe|probeset|feature|feat|cpg|mir|mirna|exon|peak|snp|transcript"
    r"|metabolite|pathway|g)[\W_]*\d+",
    re.IGNORECASE,
)
_SAMPLE_HINT = re.compile(
    r"(patient|pat|pt|p|sample|samp|smp|s|case|subject|subj|sub|donor|cell|tumou?r|individual|ind"
    r"|participant|pdx|mrn)[\W_]*\d+([\W_]?[a-z])?",
    re.IGNORECASE,
)
_FEATURE_HEADERS = {
    *("gene", "genes", "geneid", "genename", "genesymbol", "symbol", "hugosymbol", "ensembl"),
    *("ensemblid", "ensemblgeneid", "ensg", "entrezid", "entrezgeneid", "probe", "probeid"),
    *("probeset", "feature", "features", "featureid", "protein", "proteins", "proteinid"),
    *("peptidetarget", "compositeelementref", "compositeelement", "antibody", "mirna", "mirnaid"),
    *("hgncsymbol", "idref", "transcriptid", "transcript", "cpg", "geneidentifier", "uniprot"),
    *("analyte", "metabolite", "variable", "variables", "accession", "target", "locus", "region"),
}
_WELL_KNOWN = """
TP53 EGFR KRAS NRAS HRAS BRAF PIK3CA PTEN AKT1 AKT2 AKT3 MYC MYCN CDKN2A CDKN1A CDKN1B CDK4
CDK6 CDK2 CDK1 CCND1 CCNE1 CCNB1 RB1 BRCA1 BRCA2 ATM ATR CHEK1 CHEK2 APC CTNNB1 SMAD2 SMAD3
SMAD4 VHL ERBB2 ERBB3 ERBB4 ESR1 PGR AR MET KIT PDGFRA PDGFRB FGFR1 FGFR2 FGFR3 FLT3 RET ALK
ROS1 NTRK1 JAK1 JAK2 STAT1 STAT3 STAT5A NOTCH1 NOTCH2 FBXW7 ARID1A IDH1 IDH2 DNMT3A TET2 NPM1
RUNX1 GATA1 GATA3 FOXA1 FOXP3 CD3D CD3E CD4 CD8A CD8B CD19 MS4A1 CD79A CD79B CD274 PDCD1 CTLA4
LAG3 IL2 IL6 IL10 TNF IFNG TGFB1 VEGFA HIF1A MTOR TSC1 TSC2 STK11 NF1 NF2 KEAP1 NFE2L2 MDM2
MDM4 BCL2 BCL6 BCL2L1 MCL1 BAX CASP3 CASP8 FAS MKI67 PCNA TOP2A TOP1 TERT EZH2 KMT2A KMT2D
KDM6A SETD2 PBRM1 BAP1 MLH1 MSH2 MSH6 PMS2 POLE XRCC1 ERCC1 ERCC2 GAPDH ACTB ACTA2 VIM CDH1
CDH2 FN1 EPCAM KRT5 KRT8 KRT14 KRT18 KRT19 COL1A1 COL3A1 MMP2 MMP9 S100A8 S100A4 HLA-A HLA-B
HLA-DRA B2M SOX2 POU5F1 NANOG KLF4 WT1 GLI1 PTCH1 SMO WNT1 WNT5A AXIN1 AXIN2 SRC YAP1 TAZ
LATS1 MAPK1 MAPK3 MAP2K1 RAF1 SOS1 GRB2 SHC1 PRKCA INSR IGF1R IGF1 SF3B1 U2AF1 SRSF2 TP63 TP73
A1BG A1CF A2M AAAS AACS AADAC ABCA1 ABCB1 ABCC1 ABCG2 ABL1 ACE ACE2 ACTN1 ALB AFP ANXA1 APOE
"""
_GENES = frozenset(_WELL_KNOWN.split())
MOST = 0.5
"""Share of names that look like something, from which all of them are."""
_LOOKED_AT = 2000


class Look(NamedTuple):
    """What names look like: features, samples, or nothing in particular."""

    of: Literal["features", "samples", ""]
    sure: bool
    example: str = ""


def look(names: Sequence[str]) -> Look:
    """What most of these names are, as far as they show it."""
    names = [str(n) for n in names]
    if not names:
        return Look("", False)
    some = names[:: max(1, len(names) // _LOOKED_AT)]
    genes = [n for n in names if n.upper() in _GENES]
    if len(genes) >= max(3, min(20, 0.02 * len(names))) or (genes and len(genes) == len(names)):
        return Look("features", True, genes[0])
    kinds: tuple[tuple[Literal["features", "samples"], bool, Callable], ...] = (
        ("samples", True, lambda n: bool(canonical_barcode(n) or _SAMPLE.fullmatch(n))),
        ("features", True, _FEATURE.fullmatch),
        ("features", False, _FEATURE_HINT.fullmatch),
        ("samples", False, _SAMPLE_HINT.fullmatch),
    )
    for of, sure, fits in kinds:
        fitting = [n for n in some if fits(n)]
        if len(fitting) > MOST * len(some):
            return Look(of, sure, fitting[0])
    return Look("", False)


def header_says(name: str | None) -> Literal["features", "samples", ""]:
    """What the name of the column of ids says that the rows are."""
    plain = joined(name or "")
    if plain in _FEATURE_HEADERS:
        return "features"
    return "samples" if plain in ID_NAMES - {"id", "ids", "names"} else ""
