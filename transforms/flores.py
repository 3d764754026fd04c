"""Languages of Immich's web pages (Weblate codes) as the FLORES-200 codes that nllb models know."""

UNKNOWN = "eng_Latn"

_PAIRS = """
    af:afr_Latn am:amh_Ethi ar:arb_Arab as:asm_Beng ast:ast_Latn az:azj_Latn ba:bak_Cyrl be:bel_Cyrl
    bg:bul_Cyrl bn:ben_Beng bo:bod_Tibt bs:bos_Latn ca:cat_Latn ceb:ceb_Latn ckb:ckb_Arab cs:ces_Latn
    cy:cym_Latn da:dan_Latn de:deu_Latn el:ell_Grek en:eng_Latn eo:epo_Latn es:spa_Latn et:est_Latn
    eu:eus_Latn fa:pes_Arab fi:fin_Latn fil:tgl_Latn fo:fao_Latn fr:fra_Latn fur:fur_Latn ga:gle_Latn
    gd:gla_Latn gl:glg_Latn gu:guj_Gujr ha:hau_Latn he:heb_Hebr hi:hin_Deva hr:hrv_Latn ht:hat_Latn
    hu:hun_Latn hy:hye_Armn id:ind_Latn ig:ibo_Latn is:isl_Latn it:ita_Latn ja:jpn_Jpan jv:jav_Latn
    ka:kat_Geor kk:kaz_Cyrl km:khm_Khmr kmr:kmr_Latn kn:kan_Knda ko:kor_Hang ku:kmr_Latn ky:kir_Cyrl
    lb:ltz_Latn lo:lao_Laoo lt:lit_Latn lv:lvs_Latn mfa:zsm_Latn mg:plt_Latn mi:mri_Latn mk:mkd_Cyrl
    ml:mal_Mlym mn:khk_Cyrl mr:mar_Deva ms:zsm_Latn mt:mlt_Latn my:mya_Mymr nb:nob_Latn ne:npi_Deva
    nl:nld_Latn nn:nno_Latn no:nob_Latn oc:oci_Latn or:ory_Orya pa:pan_Guru pl:pol_Latn ps:pbt_Arab
    pt:por_Latn ro:ron_Latn ru:rus_Cyrl rw:kin_Latn sa:san_Deva sc:srd_Latn sd:snd_Arab si:sin_Sinh
    sk:slk_Latn sl:slv_Latn so:som_Latn sq:als_Latn sr:srp_Cyrl su:sun_Latn sv:swe_Latn sw:swh_Latn
    ta:tam_Taml te:tel_Telu tg:tgk_Cyrl th:tha_Thai tk:tuk_Latn tl:tgl_Latn tr:tur_Latn tt:tat_Cyrl
    ug:uig_Arab uk:ukr_Cyrl ur:urd_Arab uz:uzn_Latn vi:vie_Latn xh:xho_Latn yi:ydd_Hebr yo:yor_Latn
    yue:yue_Hant zh:zho_Hans zh-hans:zho_Hans zh-hant:zho_Hant zh-hk:zho_Hant zh-simplified:zho_Hans
    zh-traditional:zho_Hant zh-tw:zho_Hant zu:zul_Latn
"""

WEBLATE_TO_FLORES = dict(pair.split(":") for pair in _PAIRS.split())
"""Keys in lower case and with "-". Countries and scripts are listed only where they change the language.

FLORES-200 has Serbian in Cyrillic only, and no Pattani Malay (mfa), which gets the nearest there is.
"""


def flores_code(language: str) -> str:
    """The FLORES-200 code of a Weblate code ("de", "pt_BR", "zh-Hant"); `UNKNOWN` if there is none.

    The whole code is looked up first, then the part before the first "-". "_" counts as "-".
    """
    code = language.replace("_", "-").lower()
    return WEBLATE_TO_FLORES.get(code) or WEBLATE_TO_FLORES.get(code.split("-")[0], UNKNOWN)
