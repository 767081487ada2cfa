"""Values given to programs: program text, files and standard input are refused, ordinary arguments are not."""

from __future__ import annotations

import pytest

from shell_support import lines, problems, refusal, rows


@pytest.mark.parametrize(
    ("text", "name", "cure"),
    rows(r"""
bash -c ${item.x} => bash => bash -c 'grep "$1" f' _ ${item.x}
bash -c "ls '${item.x}'" => bash => _ ${item.x}
bash -c 'ls ${item.x}' => bash => _ ${item.x}
sh -ec ${item.x} => sh => _
dash -c ${item.x} => dash => _
zsh -c ${item.x} => zsh => _
bash -euo pipefail -c ${item.x} => bash => _
/bin/bash -lc ${item.x} => bash => _
'ba'sh -c ${item.x} => bash => _
b\ash -c ${item.x} => bash => _
BASH -c ${item.x} => bash => _
env bash -c ${item.x} => bash => _
sudo -E sh -c ${item.x} => sh => _
xargs sh -c ${item.x} => sh => _
find . -exec sh -c ${item.x} \; => sh => _
docker exec box sh -c ${item.x} => sh => _
kubectl exec pod -- bash -c "ls ${item.x}" => bash => _
busybox sh -c ${item.x} => sh => _
timeout -k 1 5 bash -c ${item.x} => bash => _
exec bash -c ${item.x} => bash => _
command bash -c ${item.x} => bash => _
time bash -c ${item.x} => bash => _
nice -10 setsid -w bash -c ${item.x} => bash => _
x=$(date) bash -c ${item.x} => bash => _
python -c ${item.x} => python => sys.argv[1]
python3.12 -c 'print(${item.x})' => python => sys.argv
python -Ic${item.x} => python => sys.argv[1]
perl -e ${item.x} => perl => $ARGV[0]
perl -lne 'print if /${item.x}/' f => perl => $ARGV[0]
perl -M${item.x} -e 1 => perl => $ARGV
ruby -e ${item.x} => ruby => ARGV[0]
node -e ${item.x} => node => process.argv
node --eval=${item.x} => node => process.argv
node -pe ${item.x} => node => process.argv
sed s/a/${item.x}/ f => sed => awk -v x=${item.x}
sed -e ${item.x} f => sed => awk
sed -n -e 1p -e ${item.x} f => sed => awk
sed -i.bak ${item.x} f => sed => awk
sed --expression=${item.x} f => sed => awk
sed --expr ${item.x} f => sed => awk
awk '/${item.x}/' f => awk => awk -v x=${item.x}
awk -F, ${item.x} f => awk => -v
gawk -e ${item.x} => gawk => -v
jq '.${item.x}' f => jq => jq --arg x ${item.x}
jq -r ".[] | ${item.x}" f => jq => --arg
jq --arg y ${item.x} ${item.x} f => jq => --arg
ssh host ls ${item.x} => ssh => standard input
ssh -p 22 host "ls ${item.x}" => ssh => standard input
ssh -o ${item.x} host => ssh => standard input
ssh host ls -l ${item.x} => ssh => standard input
make ${item.x} => make => X=${item.x} make
make all V=${item.x} => make => $$X
make --eval=${item.x} => make => $$X
make -j ${item.x} => make => $$X
bash -oc pipefail ${item.x} => bash => _
sed -i '' ${item.x} f => sed => awk
gawk -Lfatal ${item.x} => gawk => -v
sqlite3 -cmd ${item.x} f => sqlite3 => environment
hyperfine ${item.x} => hyperfine => environment
ssh-agent bash -c ${item.x} => bash => _
gosu root sh -c ${item.x} => sh => _
git -c ${item.x} log => git => git runs commands
git -c a=${item.x} log => git => git runs
git config alias.x ${item.x} => git config => git runs
git rebase -x ${item.x} main => git rebase => argument
git clone -c ${item.x} u => git clone => argument
git submodule foreach ${item.x} => git submodule foreach => environment
parallel ls ${item.x} => parallel => environment
watch ls ${item.x} => watch => environment
su -c ${item.x} => su => environment
vim ${item.x} => vim => program
rsync -e ${item.x} a b => rsync => environment
tar --to-command=${item.x} -xf a => tar => argument
sqlite3 f ${item.x} => sqlite3 => environment
psql -c ${item.x} => psql => -v x=${item.x}
php -r ${item.x} => php => $argv[1]
uv run python -c ${item.x} => python => sys.argv
npm exec -- node -e ${item.x} => node => process.argv
"""),
)
def test_program_text(text: str, name: str, cure: str) -> None:
    found = problems(text)
    assert found
    assert f"`${{item.x}}` is program text of {name}" in {message for message, _ in found}
    assert cure in found[0][1]


@pytest.mark.parametrize(
    "text",
    lines(r"""
x=${item.x}; bash -c "$x"
x=a${item.x}; y=$x; bash -c "ls $y"
for x in ${item.x}; do sh -c "$x"; done
x=(1 ${item.x}); sed "${x[1]}" f
x=$(cat ${item.x}); awk "$x" f
read -r x <<< ${item.x}; jq "$x"
f() { local x=${item.x}; python -c "$x"; }
: ${y:=$x}; x=${item.x}; perl -e "$y"
"""),
)
def test_program_text_in_a_variable(text: str) -> None:
    message, _ = refusal(text)
    assert "which holds `${item.x}`, is program text" in message


def test_a_program_in_a_here_document_of_the_script() -> None:
    message, _ = refusal("x=${item.x}; bash <<E\n$x\nE")
    assert "is the program that bash reads" in message


@pytest.mark.parametrize(
    ("text", "name"),
    rows(r"""
bash ${item.x} => bash
sh -x ${item.x} => sh
python ${item.x} => python
python -m ${item.x} => python
perl ${item.x} => perl
node -r ${item.x} a => node
sed -f ${item.x} f => sed
awk -f ${item.x} f => awk
make -f ${item.x} => make
jq -L ${item.x} . f => jq
bash --rcfile ${item.x} => bash
bash <(echo ${item.x}) => bash
python <(cat ${item.x}) => python
git --exec-path ${item.x} log => git
ssh -F ${item.x} host => ssh
env -i python3 -u ${item.x} => python
ruby -r ${item.x} a.rb => ruby
"""),
)
def test_program_files(text: str, name: str) -> None:
    message, cure = refusal(text)
    assert f"names the program that {name} runs" in message
    assert "write the program's name out" in cure


@pytest.mark.parametrize(
    ("text", "name"),
    rows(r"""
bash <<< ${item.x} => bash
sh -s <<< ${item.x} => sh
sh - <<< ${item.x} => sh
bash /dev/stdin <<< ${item.x} => bash
python <<< ${item.x} => python
python - <<< ${item.x} => python
perl <<< ${item.x} => perl
node <<< ${item.x} => node
ssh host <<< ${item.x} => ssh
bash < ${item.x} => bash
sudo bash <<< ${item.x} => bash
{ :; bash; } <<< ${item.x} => bash
source /dev/stdin <<< ${item.x} => source
. /dev/stdin <<< ${item.x} => .
echo ${item.x} | sh => sh
printf %s ${item.x} | tee f | bash -s => bash
cat ${item.x} | (sh) => sh
bash < <(echo ${item.x}) => bash
while :; do bash; done <<< ${item.x} => bash
echo ${item.x} | xargs bash => bash
echo ${item.x} |& env sh => sh
sed -f - <<< ${item.x} => sed
x=${item.x}; bash <<< $x => bash
make -f - <<< ${item.x} => make
"""),
)
def test_programs_on_standard_input(text: str, name: str) -> None:
    message, cure = refusal(text)
    assert f"is the program that {name} reads from standard input" in message
    assert "pass it as an argument" in cure


@pytest.mark.parametrize(
    "text",
    lines(r"""
bash $OPTS s.sh ${item.x}
bash "$@" ${item.x}
bash --frob s.sh ${item.x}
sudo -s ${item.x}
env -S ${item.x}
env --split-string=${item.x}
xargs --frob ls ${item.x}
sed $OPTS ${item.x} f
python $X ${item.x}
node --frob s.js ${item.x}
timeout $T ls ${item.x}
sed -${item.x} f
env $VARS ls ${item.x}
awk "${opts[@]}" ${item.x}
bash -q s.sh ${item.x}
make -j${item.x}
sed -l ${item.x} f
unshare -r ls ${item.x}
printf $f ${item.x}
printf -x ${item.x}
"""),
)
def test_what_cannot_be_told_from_an_option(text: str) -> None:
    message, cure = refusal(text)
    assert "may take it for an option or a program" in message
    assert "write options out" in cure


@pytest.mark.parametrize(
    "text",
    lines(r"""
$CMD ${item.x}
"$CMD" ${item.x}
$(which a) ${item.x}
"$@" ${item.x}
{bash,-c} ${item.x}
ba* ${item.x}
nice *.sh ${item.x}
sudo $X ${item.x}
git $X ${item.x}
'' ${item.x}
"""),
)
def test_commands_that_only_the_shell_knows(text: str) -> None:
    message, cure = refusal(text)
    assert "whose name only the shell knows" in message or "may take it for an option" in message
    assert cure


def test_subcommands() -> None:
    assert "is the subcommand of git" in refusal("git ${item.x}")[0]
    assert "is the subcommand of npm" in refusal("npm ${item.x} a")[0]


@pytest.mark.parametrize(
    "text",
    lines(r"""
jq --arg x ${item.x} '.y' f
jq -rn --argjson x ${item.x} '$x'
jq -f prog.jq ${item.x}
jq . -- ${item.x}
python script.py ${item.x}
python -m pytest ${item.x}
python -c 'import sys' ${item.x}
python -u - ${item.x} < f
python3 -X dev -W error s.py ${item.x}
bash script.sh ${item.x}
bash -x -- s.sh ${item.x}
bash +x s.sh ${item.x}
bash -euo pipefail s.sh ${item.x}
bash -c 'grep "$1" f' _ ${item.x}
bash -s -- ${item.x} < s.sh
bash "$DIR/s.sh" ${item.x}
sed -n 5p ${item.x}
sed -e 5p -- ${item.x}
sed -i.bak -E s/a/b/ ${item.x}
sed -f prog.sed ${item.x}
sed -i '' -e s/a/b/ ${item.x}
grep -- ${item.x} f
grep -rn bash ${item.x}
awk '{print}' ${item.x}
awk -v x=${item.x} '{print x}' f
awk -F ${item.x} '{print $1}' f
awk -f p ${item.x}
ssh ${item.x} uptime
ssh -p ${item.x} host uptime
make -C ${item.x} all
make -j4 -C ${item.x} all
X=${item.x} make all
git commit -m ${item.x}
git log -- ${item.x}
git -C ${item.x} status
git checkout ${item.x}
git bisect good ${item.x}
env X=${item.x} ls
env -u Y -C ${item.x} ls
timeout ${item.x} ls
nice -n ${item.x} ls
sudo -u ${item.x} ls
xargs -n 1 ls ${item.x}
xargs -I{} cp {} ${item.x}
find ${item.x} -name '*.py'
find . -name ${item.x} -exec grep -l x {} +
find . -exec sh -c 'ls "$1"' _ ${item.x} \;
command -v ${item.x}
npm test -- ${item.x}
npm run build ${item.x}
npx eslint ${item.x}
uv run pytest ${item.x}
docker run img ${item.x}
docker run img bash s.sh ${item.x}
"$DIR/run.sh" ${item.x}
$DIR/run.sh ${item.x}
curl -d ${item.x} http://h
cp -- ${item.x} ${item.y}
cat ${item.x} | python -c 'import sys'
cat <<< ${item.x} | jq .
echo ${item.x} | grep a
x=${item.x}; sed -n 5p "$x"
x=${item.x}; ls "$x" $x
x=$(dirname ${item.x}); cd "$x"
printf '%s%%\n' ${item.x}
printf -- '%s' ${item.x}
printf "$fmt" ${item.x}
[ ${item.x} = y ] && [ -n ${item.x} ]
[ ! ${item.x} ]
[ -f ${item.x} -a -n ${item.y} ]
test $y = ${item.x}
[[ -f ${item.x} && ! -d ${item.x} ]]
[[ a < ${item.x} ]]
while read -r l; do echo "$l" ${item.x}; done < f
rsync -av ${item.x} b
tar -xzf ${item.x}
tar czf ${item.x} d
psql -v x=${item.x} -f q.sql
sqlite3 ${item.x} 'select 1'
perl -e 'print $ARGV[0]' -- ${item.x}
node s.js ${item.x}
node -e 'console.log(1)' ${item.x}
perl -i.bak -pe s/a/b/ ${item.x}
ruby -e 'p 1' ${item.x}
exec 3< ${item.x}
grep -c . ${item.x} || true
x=${item.x} y=$x ls
((i = ${item.x}, i++))
trap 'rm -f t' EXIT; ls ${item.x}
eval "$(direnv hook bash)"; ls ${item.x}
set -x; ls ${item.x}
source env.sh; ls ${item.x}
read -r y < ${item.x}
read -r y <<< ${item.x}
mapfile -t a < ${item.x}
ls & wait; ls ${item.x}
unset x; x=${item.x}
busybox ls ${item.x}
"""),
)
def test_ordinary_uses_are_accepted(text: str) -> None:
    assert problems(text) == []
