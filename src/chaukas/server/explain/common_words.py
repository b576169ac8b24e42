"""Words that are no evidence: they stand in every text of their language, or in every polite answer.

Function words weigh nothing. Words of courtesy and of routine ("please", "contact", "order") weigh little, so that a phrase made
of them alone is not taken for a copy. The lists are short on purpose: document frequency within the record does the rest.
"""

from __future__ import annotations

__all__ = ["FUNCTION_WORDS", "NO_NAMES", "ROUTINE_WORDS"]

_ENGLISH = """
a an the this that these those there here it its he she they them his her their we us our i me my you your who whom
whose which what when where why how is am are was were be been being do does did done have has had having will would
shall should can could may might must not no nor and or but if then than so as at by for from in into of off on onto out
over to up with without within about above after again against all also any because before below between both during
each either else ever every few further just more most much many neither never now only other others own same since some
such too under until very via while yet yes one two three don t s re ll ve d m let get got go am etc
"""
_GERMAN = """
der die das den dem des ein eine einen einem einer eines und oder aber wenn dann als wie so auch nicht kein keine keinen
ist sind war waren sein wird werden wurde wurden hat haben hatte ich du er sie es wir ihr uns ihnen mich dich sich mein
dein unser zu zum zur von vom mit bei im in an am auf aus für über unter um nach vor bis durch ohne gegen noch nur schon
sehr mehr was wer wo wann warum bitte
"""
_ROMANCE = """
le la les un une des du de et ou mais si que qui quoi ne pas plus est sont était être avoir a ont il elle nous vous ils
je tu mon ma mes votre vos notre nos ce cette ces dans sur sous pour par avec sans au aux en y el los las una unos unas
del al y o pero no es son fue ser ha han yo ella nosotros usted su sus mi tu este esta estos con sin por para como más
muy ya se lo il lo gli i uno e ma non è sono era essere ho hai abbiamo hanno di da in con su per tra fra che chi dei
degli delle nel nella o os as um uma uns umas e ou mas não é são foi ser em no na nos nas do da dos das com sem por para
pelo pela
"""
_DUTCH = """
de het een en of maar niet is zijn was waren ik jij hij zij wij ze je u mijn van voor met op in aan te bij naar uit ook
er dat die
"""

_ROUTINE = """
hello hi dear please thank thanks sorry welcome glad happy sure certainly help helping assist assistance contact
contacting reach hesitate feel free know need needs want like let anything something everything else further question
questions patience understanding inconvenience apologize apologise regards best kind sincerely today moment time day
service services customer customers support team request requested details detail information info following based
available provide provided providing using use used make made take look looking see find found check checking ask asking
tell say give given back update updated result results answer work working good great right well able possible soon
currently order user hope hoping doing far nice morning afternoon evening hallo danke gern gerne hilfe fragen guten tag
bonjour merci hola gracias ciao grazie error status ok done true false null none success completed failed unknown id
name type value data text content message
"""
_UNITS = """
eur usd gbp chf jpy ms sec min hours hour minutes minute seconds days weeks week months month years year percent km kg
kwh ct cm mm gb mb kb monday tuesday wednesday thursday friday saturday sunday january february march april may june
july august september october november december jan feb mar apr jun jul aug sep oct nov dec
"""

#: Weigh nothing.
FUNCTION_WORDS = frozenset(f"{_ENGLISH} {_GERMAN} {_ROMANCE} {_DUTCH}".split())
#: Weigh a quarter of another word.
ROUTINE_WORDS = frozenset(f"{_ROUTINE} {_UNITS}".split()) - FUNCTION_WORDS
#: Written with a capital without being anybody's name.
NO_NAMES = FUNCTION_WORDS | ROUTINE_WORDS
